"""The probe suite, `python -m benchmarks.probe`: what can be learned from the ids of tokenizers, at one budget."""
