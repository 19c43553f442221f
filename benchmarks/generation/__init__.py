"""Images of prompts by generators: `python -m benchmarks.generation`."""
