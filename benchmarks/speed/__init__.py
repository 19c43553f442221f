"""Speed and size, each against a named alternative: `python -m benchmarks.speed`."""
