"""Tables of stored results: the papers' tables with measured numbers beside the published ones, and all other runs."""
