"""Metrics: pure functions of tensors, and distances between sets of features that are read in blocks."""
