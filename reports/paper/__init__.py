"""`python -m reports paper`: the paper's six tables, its figures, and a verdict on each of its claims.

`plan` has the sizes of the small run, `systems` says which model stands for which system of the paper, and `claims`
what the paper claims. `small` measures what is missing at the small scale, `full` looks for stored results of the
paper's own size and plans the cluster run. `verdict` decides the claims, `tables` and `writing` make the files.
"""
