"""The GenEval suite: its prompts, object detectors, colour classifiers and scorer (Ghosh et al. 2023, arXiv 2310.11513)."""
