"""The preference suite, `python -m benchmarks.preference`: reward models score generated pictures."""
