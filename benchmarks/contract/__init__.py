"""Check whether an adapter keeps the contract of `lactok.Tokenizer`: `python -m benchmarks.contract NAME`."""
