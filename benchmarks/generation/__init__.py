"""The generation suite, `python -m benchmarks.generation`: generators make pictures of prompts."""
