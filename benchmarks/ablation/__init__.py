"""The ablation studies of LaCTok: `python -m benchmarks.ablation`."""
