"""Where weights come from: the user's folders, the package, a model hub, a package registry; all as safetensors.

A file that is not safetensors is read once by a restricted reader, converted into the cache and hashed; after that
nothing is unpickled. `python -m lactok.weights list | path NAME | fetch NAME`.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, WeightsNotFound, disk_errors, unknown
from lactok.info import Asset, Hub, Packaged, Registry, Source

if TYPE_CHECKING:
    from torch import Tensor

REMEDY = "set LACTOK_CACHE to another folder"

_failed: dict[str, str] = {}  # source or host -> why; asked once a process


@dataclass(frozen=True)
class Resolved:
    """An asset on disk: the safetensors file, which source it came from and the file's sha256."""

    asset: Asset
    path: Path
    source: str
    sha256: str

    def record(self) -> dict[str, str]:
        return {"name": self.asset.name, "source": self.source, "sha256": self.sha256}


def cache_dir() -> Path:
    """`LACTOK_CACHE`, or `lactok` under the user's cache folder."""
    root = os.environ.get("LACTOK_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lactok"


def use_folder(folder: str | Path) -> None:
    """Look in `folder` before every other source (the commands' `--weights`); worker processes inherit it."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"--weights {folder}: no such folder")
    named = [p for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p and p != str(path.resolve())]
    os.environ["LACTOK_WEIGHTS"] = os.pathsep.join([str(path.resolve()), *named])
    resolve.cache_clear()


def user_folders() -> list[Path]:
    return [Path(p) for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p]


@lru_cache(maxsize=256)
def _hash(path: Path, _size: int, _mtime: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """Digest of a file, computed once for an unchanged one."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def locate(asset: Asset) -> Resolved | None:
    """The asset if it is on this machine already, without the network."""
    for folder in user_folders():
        for name in asset.file_names:
            if (path := folder / name).is_file():
                return _as_safetensors(asset, path, f"user:{path.name}")
    bundled = Path(__file__).parent / "bundled" / f"{asset.name}.safetensors"
    if bundled.is_file():
        return Resolved(asset, bundled, "bundled", sha256(bundled))
    return _cached(asset)


@lru_cache(maxsize=256)
def resolve(asset: Asset) -> Resolved:
    """The asset as a safetensors file, fetched and converted if need be; two processes may ask at once.

    Raises:
        WeightsNotFound: with every source that was tried, and how to provide the file.
        UserError: a damaged, refused or too large file, a full disk.
    """
    found = locate(asset)
    if found is not None:
        return found
    from filelock import FileLock

    cache = cache_dir()
    with disk_errors(cache, REMEDY):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{asset.name}.lock"):
            if (found := _cached(asset)) is not None:  # another process was quicker
                return found
            reasons = []
            for source in asset.sources:
                try:
                    return _fetch(asset, source)
                except _Unavailable as reason:
                    reasons.append(f"{source} ({reason})")
    raise WeightsNotFound(
        f"weights not found: {asset.name}; tried {', '.join(reasons) or 'the package'}; get it with "
        f"`python -m lactok.weights fetch {asset.name}` where the network reaches it, or put "
        f"{' or '.join(asset.file_names)} into a folder named by --weights or LACTOK_WEIGHTS"
    )


def load(asset: Asset, device: str = "cpu") -> dict[str, Tensor]:
    """The asset's tensors by name, as its network loads them."""
    from safetensors.torch import load_file

    resolved = resolve(asset)
    try:
        return load_file(resolved.path, device=device)
    except Exception as error:
        raise UserError(f"{resolved.path} is damaged ({error}); delete it and run again") from error


def load_strict(module: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load tensors into a module, every key and shape accounted for, cast to the module's dtypes.

    Raises:
        UserError: names the first missing, unexpected or misshapen keys.
    """
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{k} {tuple(tensors[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own.keys() & tensors.keys()
        if tensors[k].shape != own[k].shape
    ]
    problems = []
    for label, keys in (("missing", missing), ("unexpected", unexpected), ("wrong shape", sorted(shapes))):
        if keys:
            problems.append(f"{len(keys)} {label} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})")
    if problems:
        raise UserError(f"the weights do not fit {name}: {'; '.join(problems)}; is it the right file?")
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()}, assign=own_is_meta(own))


def own_is_meta(state: Mapping[str, Tensor]) -> bool:
    return any(t.is_meta for t in state.values())


class _Unavailable(Exception):
    """A source that does not have the file now; the next one is tried."""


def _cached(asset: Asset) -> Resolved | None:
    """A converted file whose digest still is what it was when it was written."""
    path = cache_dir() / f"{asset.name}.safetensors"
    note = path.with_suffix(".json")
    if not (path.is_file() and note.is_file()):
        return None
    try:
        record = json.loads(note.read_text())
        source, original, digest = (str(record[k]) for k in ("source", "source_sha256", "sha256"))
    except (ValueError, KeyError, TypeError):
        return None
    pins = {str(s): _pin(s) for s in asset.sources}
    if sha256(path) != digest or source not in pins or not original.startswith(pins[source] or ""):
        print(f"{path} is not what it was or should be: fetching it again", file=sys.stderr, flush=True)
        return None
    return Resolved(asset, path, source, digest)


def _pin(source: Source) -> str | None:
    """The digest, or its beginning, that the source's file must have, where it is known."""
    return source.member_sha256 if isinstance(source, Registry) else source.sha256


def _as_safetensors(asset: Asset, path: Path, source: str) -> Resolved:
    """A user's file as it is when it can be loaded directly, else its converted copy in the cache."""
    if path.suffix == ".safetensors":
        return Resolved(asset, path, source, sha256(path))
    digest = sha256(path)
    copy = cache_dir() / "converted" / f"{asset.name}-{digest[:16]}.safetensors"
    with disk_errors(copy.parent, REMEDY):
        if not copy.is_file():
            _write(copy, _convert(asset, path))
    return Resolved(asset, copy, source, sha256(copy))


def _convert(asset: Asset, path: Path) -> dict[str, Tensor]:
    from lactok import unpickle

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = load_file(path)
    else:
        tensors = unpickle.read(path)
    if asset.convert is not None:
        module, _, function = asset.convert.partition(":")
        tensors = getattr(importlib.import_module(module), function)(tensors)
    if not tensors:
        raise UserError(f"{path} holds no weights")
    return tensors


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, temporary)
        os.chmod(temporary, 0o644)  # safetensors writes for the owner alone; a cache may be shared
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _fetch(asset: Asset, source: Source) -> Resolved:
    """Download, check, convert into the cache. Raises _Unavailable."""
    cache = cache_dir()
    free = shutil.disk_usage(cache).free
    if asset.size * 2 > free:
        raise OSError(errno.ENOSPC, "No space left on device")
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"{asset.name}-") as scratch:
        path = _download(source, Path(scratch))
        digest, expected = sha256(path), _pin(source)
        if expected is not None and not digest.startswith(expected):
            raise _Unavailable(f"its sha256 is {digest}, expected {expected}; not used")
        target = cache / f"{asset.name}.safetensors"
        _write(target, _convert(asset, path))
    record = {"source": str(source), "source_sha256": digest, "sha256": sha256(target)}
    note = target.with_suffix(".json.part")
    note.write_text(json.dumps(record, indent=1))
    os.replace(note, target.with_suffix(".json"))
    return Resolved(asset, target, record["source"], record["sha256"])


def _download(source: Source, scratch: Path) -> Path:
    """The source's file on disk."""
    from lactok import download

    if isinstance(source, Packaged):
        return Path(importlib.import_module(source.package).__file__ or "").parent / source.file
    for key in (str(source), download.host(source)):
        if key in _failed:
            raise _Unavailable(_failed[key])
    try:
        if isinstance(source, Hub):
            return download.from_hub(source)
        if isinstance(source, Registry):
            return download.from_registry(source, scratch)
        return download.from_url(source, scratch)
    except download.Unreachable as error:
        _failed[download.host(source)] = str(error)
        raise _Unavailable(str(error)) from error
    except download.Refused as error:
        _failed[str(source)] = str(error)
        raise _Unavailable(str(error)) from error


def known_assets() -> dict[str, tuple[Asset, str]]:
    """Every asset by name, with what needs it."""
    from lactok import registry
    from lactok.assets import METRIC_ASSETS

    found = {asset.name: (asset, "metrics") for asset in METRIC_ASSETS}
    for name in registry.names():
        try:
            assets = registry.info(name).assets
        except UserError as error:  # a broken plug-in must not hide the others
            print(f"left out: {error}", file=sys.stderr)
            continue
        for asset in assets:
            found.setdefault(asset.name, (asset, name))
    return found


def _main(argv: Sequence[str] | None = None) -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m lactok.weights", description="Weights: list, find, fetch.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="every asset: licence, where it is or would come from")
    for action, text in (("path", "print where an asset is on this machine"), ("fetch", "download and convert it")):
        actions.add_parser(action, help=text).add_argument(
            "name", help="an asset, or all" if action == "fetch" else "an asset"
        )
    args = parser.parse_args(argv)
    assets = known_assets()
    if args.action == "list":
        for asset, user in assets.values():
            found = locate(asset)
            state = f"{found.source}  {found.path}" if found else f"not here; from {', '.join(map(str, asset.sources))}"
            print(f"{asset.name}  [{asset.license}]  for {user}  {state}")
        return 0
    names = list(assets) if args.name == "all" and args.action == "fetch" else [args.name]
    for name in names:
        if name not in assets:
            raise unknown("asset", name, assets)
    missing = []
    for name in names:
        asset = assets[name][0]
        resolved = locate(asset) if args.action == "path" else None
        if args.action == "path" and resolved is None:
            raise WeightsNotFound(f"{name} is not on this machine; get it with `python -m lactok.weights fetch {name}`")
        try:
            print((resolved or resolve(asset)).path, flush=True)
        except WeightsNotFound as error:
            missing.append(str(error))
    if missing:
        raise WeightsNotFound("; ".join(missing))
    return 0


if __name__ == "__main__":
    from lactok import weights as module  # the imported module, not this copy of it, so that its caches are shared
    from lactok.command import command

    command(module._main)()
