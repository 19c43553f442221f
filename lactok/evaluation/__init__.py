"""The engine of every suite: data, sources, shards, store, results."""
