"""Adapters of published tokenizers and generators, and the reference rows; one file a family.

A new file is found by itself: what its decorators register is known by the names that stand in them.
"""

ORDER = ("lactok", "llamagen", "vqgan", "titok", "flextok", "seedtok", "reference")  # of tables; others follow by name
