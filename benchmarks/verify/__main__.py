"""`python -m benchmarks.verify [DIR...] [--manifest FILE...]`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import UserError, unknown

# kind -> module with replay(folder, config, checks)
KINDS = {
    "llamagen_vq": "benchmarks.verify.llamagen_vq",
    "vqgan": "benchmarks.verify.vqgan",
    "titok": "benchmarks.verify.titok",
    "flextok": "benchmarks.verify.flextok",
    "seed": "benchmarks.verify.seed",
    "seed_unclip": "benchmarks.verify.seed_unclip",
    "lactok_decoder": "benchmarks.verify.lactok_decoder",
    "lactok_encoder": "benchmarks.verify.lactok_encoder",
    "geneval": "benchmarks.verify.geneval",
    "metrics": "benchmarks.verify.metrics",
    "rewards": "benchmarks.verify.rewards",
}


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.verify",
        description="Replay outputs of the official code: each line a tensor, last `N checked, M failed`.",
    )
    p.add_argument("sets", nargs="*", type=Path, metavar="DIR", help="folders with a set.json")
    p.add_argument("--manifest", nargs="+", type=Path, default=[], metavar="FILE", help="lists of official tensors")
    return p


def kind_of(folder: Path) -> tuple[str, str]:
    """Kind and name of a reference set."""
    try:
        described = json.loads((folder / "set.json").read_text())
        return described["kind"], described["name"]
    except FileNotFoundError:
        raise UserError(f"{folder} is not a reference set: it has no set.json") from None
    except (ValueError, KeyError) as error:
        raise UserError(f"{folder / 'set.json'} is damaged: {error}") from error


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    folders = [f for f in args.sets if not f.is_file()]  # `golden/*` matches a README too
    if not folders and not args.manifest:
        raise UserError("name reference sets (folders with a set.json) or --manifest files")
    kinds = [kind_of(folder) for folder in folders]
    known = [(f, k, n) for f, (k, n) in zip(folders, kinds, strict=True) if k in KINDS]
    for kind in sorted({k for k, _ in kinds} - KINDS.keys()):
        if len(folders) == 1:
            raise unknown("kind of reference set", kind, KINDS)
        print(f"not replayed: kind {kind} (no model of this kind is built here yet)")
    import zipfile

    from safetensors import SafetensorError

    from benchmarks.verify import manifest
    from benchmarks.verify.checks import Checks

    results = []
    for folder, kind, name in known:
        config = folder / "config.json"
        checks = Checks(name)
        replay = importlib.import_module(KINDS[kind]).replay
        try:
            replay(folder, json.loads(config.read_text()) if config.is_file() else {}, checks)
        except (OSError, json.JSONDecodeError, KeyError, SafetensorError, zipfile.BadZipFile) as error:
            raise UserError(f"{folder} is incomplete or damaged: {error}") from error
        results.append(checks)
    for path in args.manifest:
        checks = Checks(path.stem)
        manifest.compare(path, checks)
        results.append(checks)
    if not results:
        raise UserError(f"nothing was checked: none of these sets is of a kind that is built here ({', '.join(KINDS)})")
    failed = sum(c.failed for c in results)
    print(f"{sum(c.checked for c in results)} checked, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
