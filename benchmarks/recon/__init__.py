"""The reconstruction suite, `python -m benchmarks.recon`: tokenizers encode and decode photographs."""
