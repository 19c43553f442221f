"""The regression sets that travel with the repository hold, and a changed network is seen.

`pytest tests/benchmarks/verify/test_golden_sets.py --regenerate-golden` makes their expected outputs anew and says
which changed.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import golden_sets
import golden_suites
import pytest
import torch
from golden_sets import FOLDER, Differences, Lines, hold, hold_values, replayed
from torch import nn

from lactok.nn import samplers, vqgan

SETS = sorted(path.parent.name for path in FOLDER.glob("*/set.json"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, however many threads there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", SETS)
def test_sets_hold(name: str, regenerate_golden: bool) -> None:
    hold(FOLDER / name, regenerate_golden)


@pytest.mark.slow
@pytest.mark.parametrize("name", golden_suites.SUITES)
def test_suites_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_runs: Path, regenerate_golden: bool
) -> None:
    rtol = golden_suites.RTOL.get(name, 1e-5)
    hold_values(name, golden_suites.SUITES[name](tmp_path, own_runs, monkeypatch), regenerate_golden, rtol=rtol)


@pytest.fixture(scope="module")
def own_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the reconstruction suite on drawn pictures, which the reports' tables are made of too."""
    return golden_suites.reconstructions(tmp_path_factory.mktemp("runs"))


def norms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vqgan, "norm", lambda channels, groups=32: nn.GroupNorm(groups, channels, eps=1e-2))


def channels(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = vqgan.Encoder.forward
    monkeypatch.setattr(vqgan.Encoder, "forward", lambda self, x: forward(self, x.flip(1)))


def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(samplers.TLCM, 3, (999, 499, 249))


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "a norm's constant": (norms, "llamagen_vq", "encoder_out"),
    "colours in another order": (channels, "llamagen_vq16_tiny", "ids"),
    "one step of a sampler": (steps, "lactok_decoder", "sampled/tlcm"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_changed_network_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, name, tensor = FAULTS[fault]
    plant(monkeypatch)
    checks = replayed(FOLDER / name, Lines)
    (line,) = [line for line in checks.fallen if line.split("  ")[1] == tensor]
    assert "max abs diff" in line
    assert "tolerance" in line
    with pytest.raises(pytest.fail.Exception, match=tensor):
        hold(FOLDER / name, regenerate=False)


def test_a_changed_value_of_a_suite_is_seen() -> None:
    stored = {"psnr": 20.5, "n": 4, "table": "| resize-8 | 20.50 |", "gone": 1}
    made = {"psnr": 20.6, "n": 5, "table": "| resize-8 | 20.60 |", "new": 1}
    assert [line.partition(":")[0] for line in Differences(1e-6, 1e-5).compare(made, stored)] == [
        "/gone",
        "n",
        "/new",
        "psnr",
        "table, line 1",
    ]
    assert Differences(1e-6, 1e-5).compare(stored | {"psnr": 20.50001}, stored) == []
    network = {"titok-s128-tiny": {"ssim": 0.5}}
    assert Differences(1e-6, 1e-5).compare({"titok-s128-tiny": {"ssim": 0.5003}}, network) == []
    assert len(Differences(1e-6, 1e-5).compare({"titok-s128-tiny": {"ssim": 0.503}}, network)) == 1
    assert len(Differences(1e-6, 1e-5).compare({"titok-s128-tiny": {"ssim": math.nan}}, network)) == 1


def test_regeneration_writes_what_changed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(golden_sets, "MADE_ANEW", said)
    copy = Path(shutil.copytree(FOLDER / "llamagen_vq", tmp_path / "llamagen_vq"))
    before = (copy / "io.safetensors").read_bytes()
    hold(copy, regenerate=True)
    assert (copy / "io.safetensors").read_bytes() == before
    norms(monkeypatch)
    hold(copy, regenerate=True)
    assert (copy / "io.safetensors").read_bytes() != before
    hold(copy, regenerate=False)
    assert "llamagen_vq made anew" in said[0]
    assert any("encoder_out" in line for line in said)


def test_the_sets_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 5_000_000
