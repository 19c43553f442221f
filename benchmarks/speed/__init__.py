"""Speed and size of tokenizers, and of this project's code against named alternatives: `python -m benchmarks.speed`."""
