"""Downloading one large file from an address; what a broken transfer brought is kept, and the next one goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

from lactok.errors import UserError
from lactok.weights.cache import sha256

CHUNK = 1 << 20  # bytes
TIMEOUT = 10, 60  # seconds to connect, and between two bytes
logger = logging.getLogger("lactok.datasets")


def transfer(url: str, path: Path, digest: str) -> Path:
    """Download a file, beginning again after each break for as long as bytes arrive.

    Args:
        url: its address.
        path: where it is written; what lies there is taken for its beginning.
        digest: its sha256.

    Returns:
        The path, at which the whole file is now.

    Raises:
        UserError: the host does not answer or does not give it, or it arrived damaged from the start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    began_at = _size(path)
    while True:
        before = _size(path)
        broken = _go_on(url, path)
        if not broken:
            break
        if _size(path) <= before:
            raise UserError(f"{url}: {broken}; {_size(path) / 1e6:.1f} MB are here, run again to go on from there")
    if sha256(path) == digest:
        return path
    path.unlink()
    if began_at:  # what lay there before may not have been the beginning of this file
        return transfer(url, path, digest)
    raise UserError(f"{url}: it arrived damaged, or is another file than before: its sha256 is not {digest[:12]}...")


def _go_on(url: str, path: Path) -> str:
    """Fetch what is missing of a file; return why the transfer broke off, "" if it did not.

    Raises:
        UserError: the host does not give the file.
    """
    import requests

    have = _size(path)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing is missing; the digest tells whether it is right
                return ""
            if answer.status_code not in (200, 206):
                raise UserError(f"{url}: the host answered {answer.status_code}")
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            left = int(answer.headers.get("Content-Length", 0))
            logger.info("fetching %s (%.1f MB, %.1f MB are here)", url, left / 1e6, have / 1e6 if goes_on else 0)
            arrived = 0
            with path.open("ab" if goes_on else "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    arrived += len(chunk)
            return "the transfer broke off" if arrived < left else ""
    except requests.exceptions.ChunkedEncodingError:
        return "the transfer broke off"
    except requests.exceptions.RequestException:
        return f"{urlsplit(url).netloc} cannot be reached"


def _size(path: Path) -> int:
    """Return a file's size in bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0
