"""The data sets: list, check, fetch and make them."""
