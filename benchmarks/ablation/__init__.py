"""The ablation suite, `python -m benchmarks.ablation`: variants of LaCTok beside the published ablation tables."""
