"""`python -m lactok.weights list | path NAME | fetch NAME | pack FILE`: find weights, fetch them, make them small."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import (
    DiskError,
    UserError,
    WeightsNotFound,
    WrongValue,
    check_output_file,
    disk_errors,
    first_few,
    unknown,
)
from lactok.specs import Asset
from lactok.weights.known import groups_of_assets, known_assets, users_of_assets
from lactok.weights.resolution import locate, resolve, seen, size_text

TO_FETCH, NO_SOURCE = "to fetch", "no source"
HEADINGS = {"adapters": "tokenizers and generators"}
LICENSE = 34  # characters of the column of licences; a longer one is shown whole and moves the rest of its line


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    own = Parser(
        prog="python -m lactok.weights",
        description="Weights: list, find, fetch.",
        examples={
            "every file, its size, whether it is here, its licence": "list",
            "all files of a tokenizer": "fetch titok-s128",
            "where they are": "path titok-s128",
        },
    )
    actions = own.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="every asset: size, whether it is here, licence, where it comes from")
    listing.add_argument("name", nargs="?", help="only those of this tokenizer, generator or asset")
    named = "an asset, a tokenizer or a generator for all of its assets"
    path = actions.add_parser("path", help="print where an asset is on this machine")
    path.add_argument("name", help=named)
    fetch = actions.add_parser("fetch", help="download and convert it")
    fetch.add_argument("name", help=f"{named}, or all")
    pack = actions.add_parser("pack", help="keep a file of trained weights in a byte a number, as shipped models are")
    pack.add_argument("file", type=Path, metavar="FILE", help="a safetensors file, such as a training writes")
    pack.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the smaller file is written")
    return own


@command
def main(argv: Sequence[str] | None = None) -> int:
    """List assets, print where they are, fetch them, or pack a file; return 0."""
    args = parser().parse_args(argv)
    if args.action == "list":
        chosen = None if args.name is None else _named(args.name)
        print("\n".join(listed(groups_of_assets(), chosen)))
    elif args.action == "path":
        _print_paths(_named(args.name))
    elif args.action == "pack":
        _pack(args.file, args.out)
    elif args.name == "all":
        _fetch([asset for asset, _ in known_assets().values()])
    else:
        _fetch(_named(args.name))
    return 0


def _pack(file: Path, out: Path) -> None:
    """Pack a file of weights and print its size before and after."""
    from lactok.weights.packing import pack

    check_output_file("out", out)
    if out.suffix != ".safetensors":
        raise WrongValue(f"`out` {out}: a packed file is NAME.safetensors; name it so")
    if out.exists():  # packing loses digits, so that no file is replaced by its packed self
        raise WrongValue(f"`out` {out} is there already; choose another name")
    with disk_errors(out):
        before, after = pack(file, out)
    print(f"{out}: {size_text(after)}, {size_text(before)} before")


def _named(name: str) -> list[Asset]:
    """Return the asset of this name, or the assets of the tokenizer or other user of this name.

    Raises:
        UnknownName: there is none.
    """
    needed, assets = users_of_assets(), known_assets()
    if name in needed:
        if not needed[name]:
            print(f"{name} needs no weights, or fetches what it needs when it is loaded", file=sys.stderr)
        return list(needed[name])
    if name in assets:
        return [assets[name][0]]
    having = [user for user, own in needed.items() if own]  # others would be no help here
    raise unknown(
        "asset, tokenizer or generator", name, [*assets, *having], where="`python -m lactok.weights list` shows them."
    )


def _print_paths(wanted: Sequence[Asset]) -> None:
    """Print where assets lie on this machine; raise WeightsNotFound for the first that is not here."""
    for asset in wanted:
        found = locate(asset)
        if found is None:
            raise WeightsNotFound(
                f"{asset.name} is not on this machine; get it with `python -m lactok.weights fetch {asset.name}`"
            )
        print(found.path, flush=True)


def _fetch(wanted: Sequence[Asset]) -> None:
    """Fetch assets and print where they lie; one that cannot be had does not stop the others.

    Raises:
        WeightsNotFound: some could not be had; each was named on standard error. One alone raises its own error.
        DiskError: the disk is full or cannot be written to, at once.
    """
    failed = []
    for asset in wanted:
        try:
            print(resolve(asset).path, flush=True)
        except UserError as error:
            if len(wanted) == 1 or isinstance(error, DiskError):
                raise
            print(f"not fetched: {asset.name}: {error}", file=sys.stderr, flush=True)
            failed.append(asset.name)
    if failed:
        raise WeightsNotFound(f"{len(failed)} of {len(wanted)} assets were not fetched: {', '.join(failed)}")


def listed(groups: Mapping[str, Mapping[str, tuple[Asset, ...]]], chosen: Sequence[Asset] | None = None) -> list[str]:
    """Return the lines of `list`: a heading for each group with its size, and a line for each asset.

    Args:
        groups: as `groups_of_assets` returns them. An asset that several need stands with the first.
        chosen: only these; all if not given.
    """
    shown: dict[str, list[tuple[Asset, list[str]]]] = {}
    users: dict[str, list[str]] = {}  # the names of those that need an asset, one list for all places
    for heading, group in groups.items():
        for user, assets in group.items():
            for asset in assets:
                if asset.name not in users and (chosen is None or asset in chosen):
                    shown.setdefault(heading, []).append((asset, users.setdefault(asset.name, [])))
                if asset.name in users and user not in users[asset.name]:
                    users[asset.name].append(user)
    rows = {heading: [_row(asset, needed) for asset, needed in some] for heading, some in shown.items()}
    widths = [max((len(row[i]) for some in rows.values() for row in some), default=0) for i in range(3)]
    lines: list[str] = []
    for heading, some in rows.items():
        to_fetch = sum(asset.size for asset, _ in shown[heading] if asset.sources and seen(asset) is None)
        here = sum(row[2] not in (TO_FETCH, NO_SOURCE) for row in some)
        left = f", {size_text(to_fetch)} to fetch" if to_fetch else ""
        lines += [
            f"{HEADINGS.get(heading, heading)}: {len(some)} {'file' if len(some) == 1 else 'files'}, {here} here{left}"
        ]
        for name, size, where, license, rest in some:
            columns = f"{name:{widths[0]}}  {size:>{widths[1]}}  {where:{widths[2]}}  {license:{LICENSE}}  {rest}"
            lines.append(f"  {columns}")
        lines.append("")
    return [
        _cut(line) for line in (*lines, "to fetch a file, or all of a tokenizer: python -m lactok.weights fetch NAME")
    ]


def _row(asset: Asset, users: Sequence[str]) -> tuple[str, str, str, str, str]:
    """Return an asset's name, its size, where it is in a word or two, its licence, and the rest of its line."""
    found = seen(asset)
    size = found[1].stat().st_size if found else asset.size
    where = TO_FETCH if asset.sources else NO_SOURCE
    if found:
        where = {"bundled": "shipped"}.get(found[0], "yours" if found[0].startswith("user:") else "here")
    origin = str(found[1]) if found else ", ".join(map(str, asset.sources)) or "nobody publishes it: train your own"
    needed = f"for {first_few(users, 2)}; " if list(users) != [asset.name] else ""
    return asset.name, size_text(size) if size else "-", where, asset.license, f"{needed}{origin}"


def _cut(line: str) -> str:
    """Return a line that fits into the terminal's; where standard output is none, the whole line."""
    width = shutil.get_terminal_size().columns
    return line if not sys.stdout.isatty() or len(line) <= width else f"{line[: width - 1]}…"


if __name__ == "__main__":
    main()
