"""Table 3, `python -m benchmarks.table3`: GenEval and preference scores of the paper's generators."""
