"""`python -m benchmarks.verify [DIR...] [--manifest FILE...]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import UserError


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.verify",
        description="Replay outputs of the official code: a line a tensor, last `N checked, M failed, K sets not "
        "replayed`. Exit code 1 if a value fell, 3 if a set is of a kind that is not built here.",
    )
    p.add_argument("sets", nargs="*", type=Path, metavar="DIR", help="folders with a set.json")
    p.add_argument("--manifest", nargs="+", type=Path, default=[], metavar="FILE", help="lists of official tensors")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    folders = [f for f in args.sets if not f.is_file()]  # `golden/*` matches a README too
    if not folders and not args.manifest:
        raise UserError("name reference sets (folders with a set.json) or --manifest files")
    from benchmarks.verify import manifest, sets

    described = [sets.read(folder) for folder in folders]  # what is no set is said before any is replayed
    results = [sets.replay(reference) for reference in described]
    alone = len(folders) + len(args.manifest) == 1
    results += [manifest.replay(path, alone) for path in args.manifest]
    checked, failed = (sum(getattr(r, count) for r in results) for count in ("checked", "failed"))
    missed = sum(not r.replayed for r in results)
    print(f"{checked} checked, {failed} failed, {missed} sets not replayed")
    return 1 if failed else 3 if missed else 0


if __name__ == "__main__":
    main()
