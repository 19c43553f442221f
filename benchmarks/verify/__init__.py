"""Replay of reference sets, which shows that this project's models are the official ones.

A reference set is a folder with inputs, the outputs that the official code made of them, the weights of a small network
and a set.json, which names the set's kind. A replay builds this project's model from these weights, runs it on the
inputs and compares every output: `python -m benchmarks.verify DIR...`.
"""
