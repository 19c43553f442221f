"""axe-core, the accessibility rules, fetched once from npm into the tests' cache; nothing of it is stored here."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from browser import missing

from lactok.weights import cache_dir

if TYPE_CHECKING:
    from playwright.sync_api import Page

VERSION = "4.14.1"
# as the registry gives it: npm view axe-core@4.14.1 dist.integrity
INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
SERIOUS = ("serious", "critical")


@lru_cache(maxsize=1)
def source() -> str:
    """The script, out of the package whose digest was checked."""
    folder = cache_dir() / "tests"
    package = folder / f"axe-core-{VERSION}.tgz"
    if not package.is_file() or integrity(package) != INTEGRITY:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            fetched = fetch(Path(temporary))
            assert integrity(fetched) == INTEGRITY, f"axe-core {VERSION} is not the file that it was"
            os.replace(fetched, package)
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def fetch(folder: Path) -> Path:
    if shutil.which("npm") is None:
        missing("no npm to fetch axe-core", "apt-get install npm")
    command = ["npm", "pack", f"axe-core@{VERSION}", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        missing("npm cannot fetch axe-core", (done.stderr.strip().splitlines() or ["it says nothing"])[-1])
    return folder / f"axe-core-{VERSION}.tgz"


def integrity(file: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()


def violations(page: Page) -> list[str]:
    """Serious and critical faults of the page as it stands: a line a fault with its first places.

    The script is evaluated by the debugger, which no content policy of the page forbids.
    """
    page.evaluate(source())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false}).then(r => r.violations)")
    return [
        f"{v['id']} ({v['impact']}): {v['help']}: " + json.dumps([n["html"][:160] for n in v["nodes"][:3]])
        for v in found
        if v["impact"] in SERIOUS
    ]
