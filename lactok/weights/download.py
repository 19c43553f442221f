"""Getting one file from an installed package, a package registry or an address; for model hubs see `hub`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from lactok.errors import UserError
from lactok.specs import Hub, Packaged, PackageIndex, Source, Url
from lactok.weights.cache import sha256

logger = logging.getLogger(__name__)


class Unreachable(Exception):
    """The host does not answer, or is too busy to: asking it for another file would be of no use now."""


class BrokenTransfer(Exception):
    """The transfer ended early; what has arrived is kept, and the next call goes on from there."""


class Refused(Exception):
    """The host answers, but not with this file; the message says why."""


def host(source: Source) -> str:
    """Return a name for the host of a source: once it cannot be reached, it is not asked for other files for a while.

    Raises:
        Refused: the installed library that should know the address does not.
    """
    if isinstance(source, Hub):
        return "hub"
    if isinstance(source, PackageIndex):
        return "registry"
    return urlsplit(_address(source)).netloc if isinstance(source, Url) else str(source)


def index_url() -> str | None:
    """Return the address of the package index that the user's own tools use, or None for the default one."""
    for name in ("LACTOK_INDEX_URL", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0:
        return None
    return asked.stdout.strip() or None


def from_registry(source: PackageIndex, scratch: Path) -> Path:
    """Download an archive of a package registry and take one member out of it; nothing of it is run or installed.

    Args:
        source: the archive and the member.
        scratch: a folder for the archive and the member.

    Returns:
        The member's path.

    Raises:
        Unreachable: the package index does not answer.
        Refused: the index has no such archive or another one of that name, or it arrived damaged.
        UserError: the archive has no such member.
    """
    from pypi_simple import NoSuchProjectError, PyPISimple, tqdm_progress_factory
    from requests import HTTPError, RequestException

    archive = scratch / source.archive
    url = index_url()
    try:
        with PyPISimple(url) if url else PyPISimple() as client:
            page = client.get_project_page(source.project, timeout=30)
            package = next((p for p in page.packages if p.filename == source.archive), None)
            if package is None:
                raise Refused(f"the package index has no {source.archive}")
            if package.digests.get("sha256", source.sha256) != source.sha256:
                raise Refused(f"the package index has another {source.archive}")
            logger.info(f"fetching {source.archive} ({(package.size or 0) / 1e6:.0f} MB)")
            progress = tqdm_progress_factory() if sys.stderr.isatty() else None
            client.download_package(package, archive, verify=False, progress=progress, timeout=60)
    except NoSuchProjectError as error:
        raise Refused(f"the package index has no {source.project}") from error
    except HTTPError as error:
        raise Refused(f"the package index answered {error.response.status_code}") from error
    except (RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable("the package index cannot be reached") from error
    if sha256(archive) != source.sha256:
        raise Refused(f"{source.archive} arrived damaged")
    return _member(archive, source.member, scratch / "member")


def _member(archive: Path, name: str, target: Path) -> Path:
    """Copy one member of a zip or tar archive to `target` and return that; raise UserError if there is none."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped, zipped.open(name) as inside, target.open("wb") as out:
                shutil.copyfileobj(inside, out)
        else:
            with tarfile.open(archive) as tarred, target.open("wb") as out:
                opened = tarred.extractfile(name)
                if opened is None:
                    raise KeyError(name)
                shutil.copyfileobj(opened, out)
    except KeyError as error:
        raise UserError(f"{archive.name} holds no {name}") from error
    return target


def from_package(source: Packaged) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Raises:
        Refused: the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(source.package)
    if spec is None:
        raise Refused(f"the package {source.package} is not installed")
    for folder in spec.submodule_search_locations or []:
        path = Path(folder) / source.file
        if path.is_file():
            return path
    raise Refused("not in the package")


def _address(source: Url) -> str:
    """Return the address of a source, which may be an attribute of an installed library.

    Raises:
        Refused: the library is not installed, or has no such attribute.
    """
    if "://" in source.where:
        return source.where
    module, _, attributes = source.where.partition(":")
    try:
        value = importlib.import_module(module)
        for attribute in attributes.split("."):
            value = getattr(value, attribute)
    except (ImportError, AttributeError) as error:
        raise Refused(f"its address is not known ({error})") from error
    return str(value)


def from_url(source: Url, folder: Path) -> Path:
    """Download the file at an address into `folder` and return its path.

    It is whole if the host says how long it is; the caller checks its digest.

    Raises:
        Unreachable: the host does not answer.
        Refused: the host has no such file or answers with a web page, or the transfer broke off.
    """
    import pooch
    from requests import HTTPError, RequestException
    from requests.exceptions import ChunkedEncodingError

    address, path = _address(source), folder / "file"
    logger.info(f"fetching {address}")
    timeout = (10, 60)  # seconds to connect, and between two bytes
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=timeout)
    try:
        fetch(address, str(path), None)
    except HTTPError as error:
        raise Refused(f"its address answered {error.response.status_code}") from error
    except ChunkedEncodingError as error:
        raise Refused("the transfer broke off; run again") from error
    except (RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable("its address cannot be reached") from error
    with path.open("rb") as handle:
        start = handle.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<") and (b"<html" in start or b"<!doctype html" in start):
        # some hosts say with status 200 that the link does not exist
        raise Refused("its address gave a web page, not the file")
    return path
