"""Getting one file from a Hugging Face hub: broken transfers go on, and nothing is used that did not arrive whole."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.specs import Hub
from lactok.weights.cache import sha256
from lactok.weights.download import BrokenTransfer, Refused, Unreachable

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

logger = logging.getLogger(__name__)

RETRY_AFTER = (1.0, 4.0)  # seconds before the second and the third question to a hub that answers that it is busy


def from_hub(source: Hub, folder: Path) -> Path:
    """Return the path of a hub's file: in huggingface_hub's own cache, or else fetched into `folder`.

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are honoured. `hf_hub_download` is not used, because its newer
    versions throw away what has arrived when a transfer breaks, and weights are large.

    Raises:
        Unreachable: the hub does not answer, or is busy.
        BrokenTransfer: the transfer ended early; what has arrived stays in `folder`.
        Refused: the hub does not give this file, it arrived damaged twice, or HF_HUB_OFFLINE is set.
        OSError: the disk is full.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    cached = try_to_load_from_cache(source.repo, source.file, revision=source.revision, repo_type=source.repo_type)
    if isinstance(cached, str) and sha256(Path(cached)).startswith(source.sha256 or ""):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise Refused("HF_HUB_OFFLINE is set")
    found = _ask(source)
    if found.etag is None or found.commit_hash is None:
        raise Unreachable(f"{constants.ENDPOINT} is not a model hub")
    # named by the etag, so that the beginning of another version is not continued with this one
    path = folder / hashlib.sha256(found.etag.encode()).hexdigest()[:16]
    if not _fetch_whole(source, found, path):
        path.unlink()  # what lay there before may not have been the beginning of this file: once more from the start
        if not _fetch_whole(source, found, path):
            raise Refused("it arrived damaged, twice")
    return path


def _fetch_whole(source: Hub, found: HfFileMetadata, path: Path) -> bool:
    """Transfer a file, beginning again after each break for as long as bytes arrive.

    Returns:
        Whether the file is what the hub says it is, where the hub tells its sha256.

    Raises:
        BrokenTransfer: the transfer broke off without bringing anything.
    """
    while True:
        arrived = _size(path)
        try:
            _transfer(source, found, path)
            break
        except BrokenTransfer:
            if _size(path) <= arrived:
                raise
    is_sha256 = re.fullmatch("[0-9a-f]{64}", found.etag or "")  # the etag of a small file is another kind of hash
    return not is_sha256 or sha256(path) == found.etag


def _size(path: Path) -> int:
    """Return a file's size in bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _ask(source: Hub, waits: Sequence[float] = RETRY_AFTER) -> HfFileMetadata:
    """Ask the hub for a file's etag, commit and size.

    Args:
        source: the file.
        waits: seconds before each further question, while the hub answers that it is busy.

    Raises:
        Unreachable: the hub does not answer, or is still busy.
        Refused: the hub does not give this file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return get_hf_file_metadata(
            hf_hub_url(source.repo, source.file, revision=source.revision, repo_type=source.repo_type)
        )
    except Exception as error:
        why = explained(error)
        if why is None:
            raise
        is_busy = isinstance(error, HfHubHTTPError) and isinstance(why, Unreachable)
        if not (waits and is_busy):
            raise why from error
    time.sleep(waits[0])
    return _ask(source, waits[1:])


def explained(error: BaseException) -> Refused | Unreachable | None:
    """Return an error of huggingface_hub as one of ours; None if it is not about the hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    for kind, why in (
        (GatedRepoError, "gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN"),
        (RepositoryNotFoundError, "no such repository on the hub, or not without logging in"),
        (RevisionNotFoundError, "the repository has no such revision"),
        (EntryNotFoundError, "the repository has no such file"),
    ):
        if isinstance(error, kind):
            return Refused(why)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return Refused(f"the hub answered {status}: is the token of HF_TOKEN or `hf auth login` valid?")
        if status != 429 and status < 500:
            return Refused(f"the hub answered {status}")
        return Unreachable(f"the model hub answered {status}; try again later")
    if isinstance(error, _network_errors()):
        return Unreachable(f"the model hub {constants.ENDPOINT} cannot be reached")
    return None


def _network_errors() -> tuple[type[Exception], ...]:
    """Return the base classes of network errors in whichever HTTP library huggingface_hub uses, requests or httpx."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)), OSError)


def _transfer(source: Hub, found: HfFileMetadata, path: Path) -> None:
    """Download the file to `path`, from where an earlier transfer stopped; other files of the folder are removed.

    Raises:
        BrokenTransfer: the transfer ended early.
        OSError: the disk is full or cannot be written to.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    size, have = found.size, _size(path)
    if size is None or have > size:
        path.unlink(missing_ok=True)
        have = 0
    for old in path.parent.iterdir():
        if old != path:
            old.unlink()
    if (size or 0) - have > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    since = f", {have / 1e6:.1f} MB are here" if have else ""
    logger.info(f"fetching {source} ({(size or 0) / 1e6:.1f} MB{since})")
    url = hf_hub_url(source.repo, source.file, revision=found.commit_hash, repo_type=source.repo_type)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    try:
        with path.open("ab") as handle:
            http_get(url, handle, resume_size=have, headers=headers, expected_size=size)
    except _network_errors() as error:
        is_network = isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) is None
        if not is_network:
            raise  # an OSError of the disk
        why = "it broke off"
        if isinstance(error, HfHubHTTPError):
            why = f"the hub answered {error.response.status_code}"
        arrived = f"{_size(path) / 1e6:.1f} of {(size or 0) / 1e6:.1f} MB"
        raise BrokenTransfer(f"{why} after {arrived}; run again to go on from there") from error
