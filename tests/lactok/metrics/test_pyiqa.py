"""Metrics of pyiqa by name, with a stand-in of the library, and with itself where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import lactok
from lactok.errors import UserError, WeightsNotFound
from lactok.extras import MissingPackage
from lactok.metrics import of_pyiqa
from lactok.metrics.registry import described, find

CONFIGS = """
DEFAULT_CONFIGS = {
    "absolute": {"metric_mode": "FR", "lower_better": True},
    "lpips+": {"metric_mode": "FR", "lower_better": True},
    "brightness": {"metric_mode": "NR"},
    "fid": {"metric_mode": "NR", "lower_better": True},
    "pairs": {"metric_mode": "FR"},
}
"""
LIBRARY = """
import torch

def create_metric(name, device):
    if name == "lpips+":
        raise OSError("cannot reach\\nthe hub")
    if name == "pairs":
        return lambda output, reference: torch.zeros(2)
    if name == "absolute":
        return lambda output, reference: (output - reference).abs().mean()
    return lambda output: output.mean()[None]
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package `pyiqa` with the two files that are read."""
    root = tmp_path / "site"
    (root / "pyiqa").mkdir(parents=True)
    (root / "pyiqa" / "__init__.py").write_text(LIBRARY)
    (root / "pyiqa" / "default_model_configs.py").write_text(CONFIGS)
    (root / "pyiqa-0.1.16.dist-info").mkdir()
    (root / "pyiqa-0.1.16.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pyiqa\nVersion: 0.1.16\n")
    monkeypatch.syspath_prepend(root)
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    clear()
    yield
    sys.modules.pop("pyiqa", None)
    clear()


def clear() -> None:
    importlib.invalidate_caches()
    for cached in (of_pyiqa.by_name, of_pyiqa.settings, of_pyiqa.network):
        cached.cache_clear()


@pytest.mark.usefixtures("library")
class TestWithAStandIn:
    def test_with_and_without_a_reference(self, tmp_path: Path) -> None:
        result = lactok.evaluate("resize-8", metrics="psnr,pyiqa-absolute,pyiqa-brightness", limit=3, out=tmp_path)
        entry = result["pyiqa-absolute"]
        assert (entry.title, entry.higher_is_better) == ("absolute", False)
        assert 0 < entry.value < 0.5
        assert result["pyiqa-brightness"].higher_is_better is True
        assert {"pyiqa-absolute", "pyiqa-brightness"} <= set(result.records.columns)
        assert described("pyiqa-absolute", entry.model_dump()).head == "absolute ↓"

    def test_values(self) -> None:
        first = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
        found = find("pyiqa-absolute").compute(first, 255 - first, "cpu")  # type: ignore[attr-defined]
        expected = (2 * first.double() / 255 - 1).abs().mean((1, 2, 3))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("pyiqa-absolut", "unknown metric of pyiqa 'absolut'"),
            ("pyiqa-fid", "metric pyiqa-fid does not compare images one by one; rfid, fd_dinov2 and cmmd compare sets"),
        ],
    )
    def test_wrong_names(self, key: str, message: str) -> None:
        with pytest.raises(UserError) as error:
            find(key)
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_missing_weights_are_noticed_before_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsNotFound) as error:
            lactok.evaluate("resize-8", metrics="psnr,pyiqa-lpips+", limit=2, out=tmp_path)
        said = (
            "pyiqa-lpips+: pyiqa cannot make its metric lpips+: cannot reach the hub; or leave it out: `metrics` psnr"
        )
        assert str(error.value).startswith(said)
        assert not list(tmp_path.rglob("*.npz"))

    def test_more_than_one_number(self) -> None:
        images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
        with pytest.raises(UserError, match="metric pyiqa-pairs gives more than one number an image"):
            find("pyiqa-pairs").compute(images, images, "cpu")  # type: ignore[attr-defined]


@pytest.mark.skipif(importlib.util.find_spec("pyiqa") is not None, reason="pyiqa is installed")
def test_without_the_library_the_extra_is_named() -> None:
    clear()
    with pytest.raises(MissingPackage, match=r"the package pyiqa; install it with: pip install 'lactok\[pyiqa\]'"):
        find("pyiqa-dists")


def test_a_command_names_the_package_in_one_line_whatever_the_metadata_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A checkout that is not installed, or was before the extra came, has metadata that name no extra."""
    from benchmarks.recon.__main__ import main

    clear()
    found = importlib.util.find_spec
    with monkeypatch.context() as here:
        here.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "pyiqa" else found(name, *more))
        here.setattr("lactok.extras._extras", dict)
        with pytest.raises(SystemExit) as stop:
            main(["--tokenizers", "identity", "--metrics", "pyiqa-niqe", "--out", str(tmp_path)])
    assert stop.value.code == 2
    message = "error: metrics pyiqa-... need the package pyiqa; install it with: pip install 'lactok[pyiqa]'\n"
    assert capsys.readouterr().err == message


@pytest.mark.slow
def test_its_psnr_is_ours() -> None:
    pytest.importorskip("pyiqa", reason="pyiqa is not installed; it is the extra `pyiqa`")
    clear()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    noisy = (images.int() + 3).clamp(0, 255).byte()
    ours, theirs = (find(key).compute(images, noisy, "cpu") for key in ("psnr", "pyiqa-psnr"))  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
