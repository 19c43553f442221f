"""The reconstruction command on small pictures, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.recon import __main__ as recon

FAST = ("--resolution", "64", "--metrics", "psnr,ssim")


def run(out: Path, *arguments: str, code: int = 0) -> dict[str, dict]:
    """Run the command; results by folder name."""
    with pytest.raises(SystemExit) as stop:
        recon.main([*FAST, "--out", str(out), *arguments])
    assert stop.value.code == code
    return {p.parent.name: json.loads(p.read_text()) for p in sorted(out.glob("*/result.json"))}


def stable_bytes(out: Path) -> dict[str, bytes]:
    """The files of all results that are the same bytes for the same work, by folder and name."""
    names = ("result.json", "records.parquet", "tokens.npz")
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in sorted(out.glob("*/*")) if p.name in names}
