"""`python -m benchmarks.verify [DIR...] [--manifest FILE...]` replays reference sets and checks manifests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, command
from lactok.errors import UserError
from lactok.files import is_file

if TYPE_CHECKING:
    from benchmarks.verify.checks import Checks


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.verify",
        description="Compare this project's models with stored outputs of the official code. Prints a line for each "
        "tensor, and at the end `N checked, M failed, K sets not replayed`. Exit code 1 if a comparison failed, 3 if a "
        "set is of a kind that is not built here.",
    )
    p.add_argument("sets", nargs="*", type=Path, metavar="DIR", help="folders with a set.json")
    p.add_argument(
        "--manifest",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="lists of the tensors of an official checkpoint",
    )
    p.add_argument("--table", action="store_true", help="also print how near each set came to its tolerances")
    return p


def table(results: Sequence[Checks]) -> str:
    """Return a Markdown table with a row for each set: the comparison that came nearest to its tolerance."""
    from tabulate import tabulate

    rows = []
    for result in results:
        nearest = ["", "", "", ""]
        if result.nearest is not None:
            share, name, largest, tolerance = result.nearest
            nearest = [name.replace("|", "\\|"), f"{largest:.1e}", tolerance.replace("|", "\\|"), f"{share:.1%}"]
        rows.append([result.name, str(result.checked) if result.replayed else "not replayed", *nearest])
    head = ["set", "comparisons", "nearest to its tolerance", "largest difference", "tolerance", "share of it"]
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a comparison failed, 3 if a set was not replayed, else 0."""
    args = parser().parse_args(argv)
    folders = [f for f in args.sets if not is_file(f)]  # a pattern such as `sets/*` matches a README too
    if not folders and not args.manifest:
        raise UserError("name reference sets (folders with a set.json) or --manifest files")
    from benchmarks.verify import manifest, sets

    references = [sets.read(folder) for folder in folders]  # a folder that is no set is an error before any replay
    results = [sets.replay(reference) for reference in references]
    alone = len(folders) + len(args.manifest) == 1
    results += [manifest.replay(path, alone) for path in args.manifest]
    if args.table:
        print(table(results))
    checked = sum(result.checked for result in results)
    failed = sum(result.failed for result in results)
    not_replayed = len([result for result in results if not result.replayed])
    print(f"{checked} checked, {failed} failed, {not_replayed} sets not replayed")
    if failed:
        return 1
    if not_replayed:
        return 3
    return 0


if __name__ == "__main__":
    main()
