"""Adapters of published tokenizers and generators, and the reference rows of every table; one file for each family.

A new file needs no entry anywhere: the names that its `@register` decorators state as text are found by reading the
files of this folder.
"""

# the order of families in tables; files that are not listed here follow in alphabetical order
ORDER = ("lactok", "llamagen", "vqgan", "titok", "flextok", "seedtok", "reference")
