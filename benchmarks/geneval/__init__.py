"""The GenEval suite: prompts, object detectors, colour classifiers, scorer (Ghosh et al. 2023, arXiv 2310.11513)."""
