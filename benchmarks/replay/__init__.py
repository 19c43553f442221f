"""`python -m benchmarks.replay`: one tokenizer under many protocols, beside the numbers that are published of it."""
