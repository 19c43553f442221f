"""`--metrics all` leaves out what cannot be had, in every command that measures reconstructions."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import pytest

from benchmarks.speed import scaling
from lactok.errors import WeightsNotFound
from lactok.evaluation import metric_networks
from lactok.metrics import choice
from lactok.metrics.registry import find


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """All metrics are PSNR, and one whose network cannot be had."""
    monkeypatch.setattr(choice, "known", lambda: [find("psnr"), find("fd_dinov2")])

    def resolve(asset: object) -> None:
        raise WeightsNotFound("nowhere")

    monkeypatch.setattr(metric_networks.weights, "resolve", resolve)


@pytest.mark.parametrize(
    "argv",
    [
        "benchmarks.recon --tokenizers toy",
        "benchmarks.recon.exchange --tokenizers toy",
        "benchmarks.replay toy --protocols square-256",
    ],
)
def test_what_cannot_be_had_is_left_out(
    lacking: None, argv: str, photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module, *arguments = argv.split()
    given = ["--metrics", "all", "--dataset", str(photographs), "--limit", "3", "--out", str(tmp_path / "out")]
    with caplog.at_level(logging.WARNING), pytest.raises(SystemExit) as stop:
        importlib.import_module(f"{module}.__main__" if module.count(".") == 1 else module).main([*arguments, *given])
    assert stop.value.code == 0
    assert "left out: fd_dinov2: nowhere" in caplog.text


def test_growth_is_measured_without_it(lacking: None, tmp_path: Path) -> None:
    scaling.make_photographs(tmp_path, 2)
    found = scaling.measure(scaling.Series("resize-16", "all", 256, 1, 1), tmp_path, 2)
    assert found["photographs"] == 2
