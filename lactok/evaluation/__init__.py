"""The engine of every suite: data sets, sources of reconstructions, shards of samples, their store, and results."""
