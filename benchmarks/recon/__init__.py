"""The reconstruction suite: `python -m benchmarks.recon`."""
