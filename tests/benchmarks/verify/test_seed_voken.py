"""The replay of SEED-Voken's evaluation programs sees what its two traps and a wrong number change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import shared
from golden_sets import Lines

from benchmarks.verify import sets
from lactok import fitting

Change = Callable[[dict[str, Any]], object]


def fallen(tmp_path: Path, change: Change) -> set[str]:
    """The numbers that fall after config.json was changed."""
    folder = shared("golden", "seed_voken_eval")
    config = json.loads((folder / "config.json").read_text())
    for network in {job["tokenizer_set"] for job in config.values() if isinstance(job, dict) and "script" in job}:
        (tmp_path / network).symlink_to(shared("golden", network))
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        shutil.copy(file, copy / file.name)
        (copy / file.name).chmod(0o644)
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    checks = Lines(sets.read(copy))
    sets.replay_of("seed_voken_eval")(copy, config, checks)
    return {line.split("  ")[1] for line in checks.fallen}


@pytest.mark.slow
def test_a_plain_mean_instead_of_that_of_batches_is_seen(tmp_path: Path) -> None:
    found = fallen(tmp_path, lambda config: config["fixed_size"].update(batch_size=14))
    assert found == {"fixed_size/PSNR", "fixed_size/SSIM"}


@pytest.mark.slow
def test_a_number_that_no_rounding_explains_is_seen(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["original_resolution_ibq"]["expected"]["PSNR"] += 0.001
        config["original_resolution_ibq"]["expected"]["utilization"] += 1 / 256

    assert fallen(tmp_path, change) == {"original_resolution_ibq/PSNR", "original_resolution_ibq/utilization"}


@pytest.mark.slow
def test_a_black_border_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "GREY", 0.0)
    found = fallen(tmp_path, lambda config: config.pop("fixed_size"))
    assert {"original.00.padded", "original.00.reconstructed", "original_resolution_ibq/PSNR"} <= found
