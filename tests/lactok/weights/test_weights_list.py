"""`python -m lactok.weights list`: in groups, aligned, with sizes, without torch and without reading any weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reference import ROOT

from lactok import weights
from lactok.specs import Asset, Hub
from lactok.weights.__main__ import listed
from lactok.weights.resolution import seen

SHARED = Asset("shared", "MIT", (Hub("someone/x", "model.safetensors"),), size=2_000_000)
GROUPS = {
    "metrics": {"lpips": (SHARED,)},
    "adapters": {
        "big": (
            Asset("big", "its own licence, which is longer than the column is", (Hub("a/b", "c.pt"),), size=10**9),
        ),
        "two": (SHARED, Asset("unhad", "MIT")),
    },
}


def test_assets_are_in_groups_and_aligned(own_cache: Path) -> None:
    lines = listed(GROUPS)
    assert lines[:3] == [
        "metrics: 1 file, 0 here, 2.0 MB to fetch",
        f"  shared  2.0 MB  to fetch   {'MIT':34}  for lpips, two; hub:someone/x/model.safetensors",
        "",
    ]
    assert lines[3] == "tokenizers and generators: 2 files, 0 here, 1.0 GB to fetch"
    assert lines[4].startswith(
        "  big     1.0 GB  to fetch   its own licence, which is longer than the column is  hub:a"
    )
    assert lines[5].startswith("  unhad        -  no source  MIT ")
    assert [line.strip().split()[0] for line in listed(GROUPS, [SHARED])[1:2]] == ["shared"]


def test_what_is_here_is_seen_without_being_read(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen(SHARED) is None
    (tmp_path / "shared.pt").write_bytes(b"0123456789" * 1000)
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("lactok.files._hash", lambda *_: pytest.fail("a file is read"))
    assert seen(SHARED) == ("user:shared.pt", tmp_path / "shared.pt")
    assert "10.0 kB  yours" in "\n".join(listed(GROUPS))
    assert weights.state([SHARED]) == "ready"
    assert weights.state([Asset("unhad", "MIT")]) == "cannot be fetched"
    name, path = seen(Asset("titok-s128-tiny", "MIT")) or ("", Path())
    assert (name, path.name) == ("bundled", "titok-s128-tiny.safetensors")


@pytest.mark.slow
def test_neither_list_nor_a_wrong_name_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lactok.weights.__main__ import main\n"
        "for words in (['list'], ['list', 'titok-s128'], ['path', 'titok-s12']):\n"
        "    try: main(words)\n"
        "    except SystemExit: pass\n"
        "print([m for m in ('torch', 'scipy', 'transformers', 'torchvision') if m in sys.modules])"
    )
    environment = os.environ | {"LACTOK_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]", done.stderr
    assert {line.partition(":")[0] for line in lines if line and line[0] != " "} >= {
        "metrics",
        "judges",
        "training",
        "tokenizers and generators",
        "rewards",
    }
    told = "error: unknown asset, tokenizer or generator 'titok-s12', did you mean 'titok-s128'?"
    assert done.stderr == f"{told} `python -m lactok.weights list` shows them.\n"
