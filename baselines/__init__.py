"""Adapters of published tokenizers and the reference rows; one file a family."""
