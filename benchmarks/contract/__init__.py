"""Does an adapter keep the contract of `lactok.Tokenizer`: `python -m benchmarks.recon --check NAME`."""
