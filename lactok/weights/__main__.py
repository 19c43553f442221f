"""`python -m lactok.weights list | path NAME | fetch NAME`: where the files of weights are, and fetching them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lactok.command import Parser, command
from lactok.errors import DiskError, UserError, WeightsNotFound, unknown
from lactok.specs import Asset
from lactok.weights.known import known_assets, users_of_assets
from lactok.weights.resolution import locate, resolve


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    own = Parser(prog="python -m lactok.weights", description="Weights: list, find, fetch.")
    actions = own.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="every asset: licence, where it is or would come from")
    named = "an asset, a tokenizer or a generator for all of its assets"
    path = actions.add_parser("path", help="print where an asset is on this machine")
    path.add_argument("name", help=named)
    fetch = actions.add_parser("fetch", help="download and convert it")
    fetch.add_argument("name", help=f"{named}, or all")
    return own


@command
def main(argv: Sequence[str] | None = None) -> int:
    """List assets, print where they are or fetch them; return 0."""
    args = parser().parse_args(argv)
    if args.action == "list":
        for asset, user in known_assets().values():
            print(f"{asset.name}  [{asset.license}]  for {user}  {_state(asset)}")
    elif args.action == "path":
        _print_paths(_named(args.name))
    elif args.name == "all":
        _fetch([asset for asset, _ in known_assets().values()])
    else:
        _fetch(_named(args.name))
    return 0


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
    raise unknown("asset, tokenizer or generator", name, [*assets, *needed])


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


def _state(asset: Asset) -> str:
    """Return where an asset is, or where it would come from."""
    try:
        found = locate(asset)
    except UserError as error:  # one damaged file must not hide the others
        return str(error)
    return f"{found.source}  {found.path}" if found else f"not here; from {', '.join(map(str, asset.sources))}"


if __name__ == "__main__":
    main()
