"""GenEval: prompts, detectors, the scorer and its command, after Ghosh et al. 2023, arXiv 2310.11513."""
