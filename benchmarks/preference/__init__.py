"""Preference scores of generated images: `python -m benchmarks.preference`."""
