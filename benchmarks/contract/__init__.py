"""Does an adapter keep the contract of `lactok.Tokenizer`: `python -m benchmarks.contract NAME`."""
