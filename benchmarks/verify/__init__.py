"""Replay of reference sets: is this project's model the official one? `python -m benchmarks.verify DIR...`"""
