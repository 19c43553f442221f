"""The generation suite, `python -m benchmarks.generation`: generators make pictures of prompts."""

from benchmarks.generation.prompts import read_prompts

__all__ = ["read_prompts"]
