"""The suites: `python -m benchmarks.recon`, `.verify`, `.speed`; models are reached by their names only."""
