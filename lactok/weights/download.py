"""Getting one file from a package, a package registry or a plain address, by the libraries that do it well."""

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
    """The host does not answer, or answers nobody: no use asking it for another file now."""


class Broken(Exception):
    """The transfer ended early; what has arrived is kept and the next call goes on from there."""


class Refused(Exception):
    """The host answers, but not with this file."""


def host(source: Source) -> str:
    """What stops being asked for a while after one failure to reach it."""
    if isinstance(source, Hub):
        return "hub"
    if isinstance(source, PackageIndex):
        return "registry"
    return urlsplit(_address(source)).netloc if isinstance(source, Url) else str(source)


def index_url() -> str | None:
    """The package index that the user's own tools use, or None for the default one."""
    for name in ("LACTOK_INDEX_URL", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None if asked.returncode == 0 else None


def from_registry(source: PackageIndex, scratch: Path) -> Path:
    """One member of one archive; nothing of the archive is run or installed."""
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
    """The file where the package lies, without importing it."""
    spec = importlib.util.find_spec(source.package)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    found = next((path for folder in folders if (path := Path(folder) / source.file).is_file()), None)
    if found is None:
        raise Refused(f"the package {source.package} is not installed" if spec is None else "not in the package")
    return found


def _address(source: Url) -> str:
    """The address itself, or what an installed library says it is."""
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
    """The file at an address, whole, as far as the host says how long it is."""
    import pooch
    from requests import HTTPError, RequestException
    from requests.exceptions import ChunkedEncodingError

    address, path = _address(source), folder / "file"
    logger.info(f"fetching {address}")
    # seconds to connect, and between two bytes
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=(10, 60))
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
        raise Refused("its address gave a web page, not the file")  # "Link does not exist.", with status 200
    return path
