"""Tables of stored results: the papers' own with measured numbers beside them, and the runs found here."""
