"""Simulations that tell how often the intervals of this project cover the true value."""
