"""`python -m reports COMMAND` shows stored results, brings them together, or tries pictures; `build` is the default."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from lactok.command import Parser, command

# command -> (module, help text); the module has `add_arguments(parser)`, and `run(args)` that returns the exit code
COMMANDS = {
    "build": ("reports.build", "tables, figures and the page from stored results (the default)"),
    "compare": ("reports.compare", "runs, each with the first one, paired over the images that both have"),
    "table": (
        "reports.paper_table",
        "the table for a paper: chosen runs and columns, as LaTeX, Markdown or CSV",
    ),
    "paper": ("reports.paper.command", "the paper's six tables, its figures, and a verdict on each of its claims"),
    "try": ("reports.own_pictures", "every tokenizer that is on this machine, on pictures of your own"),
    "subsets": ("reports.subsets", "results by subset of their images: with people, text, small objects, or your own"),
    "readme": ("reports.readme", "the table of README.md and docs/table.svg from docs/sample-run"),
    "cards": ("reports.cards", "the tables of the model cards from docs/cards"),
    "chd": ("reports.chd", "sets of images compared by the codes that a tokenizer gives them, from stored ids"),
    "correlations": (
        "reports.correlations",
        "which reconstruction figures order tokenizers as probes of their ids do",
    ),
    "merge": ("reports.merge", "the results of several folders and bundles in one folder"),
    "bundle": ("reports.bundle", "results in one file for others: numbers, records and ids, no pictures"),
    "serve": ("reports.serve", "show the page in a browser"),
    "grid": ("reports.grids", "a sheet of reconstructions beside their originals"),
}


def parser() -> Parser:
    """Return the parser of the commands and their arguments."""
    p = Parser(
        prog="python -m reports",
        description="Tables, figures and the page, from stored results.",
        epilog="python -m reports [--runs DIR] [--out DIR] is short for python -m reports build.",
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="COMMAND")
    for name, (module, about) in COMMANDS.items():
        command_parser = actions.add_parser(name, help=about, description=about)
        importlib.import_module(module).add_arguments(command_parser)
        command_parser.set_defaults(module=module)
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        words.insert(0, "build")  # the default command
    args = parser().parse_args(words)
    return int(importlib.import_module(args.module).run(args))


if __name__ == "__main__":
    main()
