"""The benchmark suites, one package each, such as `python -m benchmarks.recon`; they reach models by name alone."""
