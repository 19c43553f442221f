"""`python -m lactok.weights list | path NAME | fetch NAME`: every asset, where it is or would come from."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lactok.command import Parser, command
from lactok.errors import DiskError, UserError, WeightsNotFound, unknown
from lactok.specs import Asset
from lactok.weights.known import known_assets, users_of_assets
from lactok.weights.resolution import locate, resolve


def parser() -> Parser:
    p = Parser(prog="python -m lactok.weights", description="Weights: list, find, fetch.")
    actions = p.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="every asset: licence, where it is or would come from")
    for action, text in (("path", "print where an asset is on this machine"), ("fetch", "download and convert it")):
        own = actions.add_parser(action, help=text)
        everything = ", or all" if action == "fetch" else ""
        own.add_argument("name", help=f"an asset, a tokenizer or a generator for all of its assets{everything}")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    needed, assets = users_of_assets(), known_assets()
    if args.action == "list":
        for asset, user in assets.values():
            print(f"{asset.name}  [{asset.license}]  for {user}  {_state(asset)}")
        return 0
    if args.name == "all" and args.action == "fetch":
        wanted = [asset for asset, _ in assets.values()]
    elif args.name in needed:
        wanted = list(needed[args.name])
        if not wanted:
            print(f"{args.name} needs no weights, or fetches what it needs when it is loaded", file=sys.stderr)
    elif args.name in assets:
        wanted = [assets[args.name][0]]
    else:
        raise unknown("asset, tokenizer or generator", args.name, [*assets, *needed])
    return _paths(wanted) if args.action == "path" else _fetch(wanted)


def _paths(wanted: Sequence[Asset]) -> int:
    for asset in wanted:
        found = locate(asset)
        if found is None:
            raise WeightsNotFound(
                f"{asset.name} is not on this machine; get it with `python -m lactok.weights fetch {asset.name}`"
            )
        print(found.path, flush=True)
    return 0


def _fetch(wanted: Sequence[Asset]) -> int:
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
    return 0


def _state(asset: Asset) -> str:
    try:
        found = locate(asset)
    except UserError as error:  # one damaged file must not hide the others
        return str(error)
    return f"{found.source}  {found.path}" if found else f"not here; from {', '.join(map(str, asset.sources))}"


if __name__ == "__main__":
    main()
