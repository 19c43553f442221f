"""`python -m reports paper --scale tiny` from end to end, on few pictures, with generators that are plugged in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from conftest import photograph
from torch import Tensor

from lactok import registry
from lactok.randomness import noise
from lactok.specs import Asset, GeneratorSpec, Option
from lactok.tokenizer import Generator
from reports.paper import command, small, systems
from reports.paper.plan import Plan
from reports.paper.systems import PHOTOGRAPHS, SCENES

pytestmark = pytest.mark.slow  # the judge's network, many pictures
GUIDANCE = {"guidance": Option(2.0, "", 1.0, 100.0)}


class Painter(Generator):
    """Noise of one colour; it counts the pictures that it makes."""

    made: ClassVar[int] = 0

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        type(self).made += len(seeds)
        return (noise(seeds, (3, 1, 1), "paint") * 0.1 + 0.5).expand(-1, -1, 256, 256)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Iterator[Plan]:
    """A small plan, whose tokenizers are thumbnails; one generator has no weights and one does not exist."""
    for i in range(4):
        photograph(i, 256, 256).save(tmp_path / f"{i}.png")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for i in range(4):
        (tmp_path / f"{i}.png").rename(photographs / f"{i}.png")
    stand_ins = {"lactok-h": "resize-16", "llamagen": "resize-8", "lactok-t*": "resize-12"}
    monkeypatch.setattr(systems, "tokenizers", lambda scale: stand_ins)
    monkeypatch.setattr(small, "needed", lambda: {p: [*stand_ins.values()] for p in (PHOTOGRAPHS, SCENES)})
    generators = {"lactokgen-t*": "painter", "llamagen": "painter-without-weights", "lactokgen-h": "nobody"}
    monkeypatch.setattr(systems, "SMALL_GENERATORS", generators)
    registry.register_generator(GeneratorSpec("painter", "toy", "text", 256, "MIT", options=GUIDANCE))(Painter)
    assets = (Asset("nowhere", "MIT"),)
    registry.register_generator(GeneratorSpec("painter-without-weights", "toy", "text", 256, "MIT", assets=assets))(
        type("Unborn", (Painter,), {})
    )
    yield Plan(dataset=str(photographs), scenes=6, metrics=("psnr", "ssim"), pictures=2, workers=1)
    for name in ("painter", "painter-without-weights"):
        registry.GENERATORS.registered.pop(name)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_from_nothing_to_the_report_and_again_with_the_same_bytes(plan: Plan, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    assert command.small_scale(plan, tmp_path / "runs", tmp_path / "out") == 0
    report, made = files_of(tmp_path / "out"), Painter.made
    assert made == 4 * plan.scenes  # guidance 1.5, 3 and 7, and 2, which is the default
    built = {t["id"]: t for t in json.loads(report["tables.json"])["tables"]}
    rows = {
        id: {row["row"]: {cell["metric"]: cell for cell in row["cells"]} for row in table["rows"]}
        for id, table in built.items()
    }
    for table in ("table1", "table2"):
        assert rows[table]["LaCTok-H"]["psnr"]["measured"] > rows[table]["LlamaGen"]["psnr"]["measured"]
        assert rows[table]["LaCTok-H"]["psnr"]["n"] == {"table1": 4, "table2": 6}[table]
    generated = {row: cells["overall"] for row, cells in rows["table3"].items()}
    assert generated["composed scenes"]["measured"] > 0.4 > generated["LaCTokGen-T*"]["measured"]
    assert generated["LaCTokGen-T*"]["n"] == plan.scenes
    assert "nowhere" in generated["LlamaGen"]["reason"]
    assert generated["LlamaGen"]["reason"].startswith("not run: ")
    assert generated["LaCTokGen-H"]["reason"] == "not run: there is no generator nobody yet"
    assert all(cells["overall"]["n"] == plan.scenes for cells in rows["table6"].values())
    verdicts = {c["id"]: c["verdict"] for c in json.loads(report["claims.json"])["claims"]}
    assert verdicts["geneval"] == "not decided"
    assert verdicts["guidance"] == "inside the interval"  # the painter does not care
    assert any(name.startswith("figures/reconstructions-") for name in report)

    assert command.small_scale(plan, tmp_path / "runs", tmp_path / "again") == 0
    assert files_of(tmp_path / "again") == report
    assert Painter.made == made  # stored pictures are kept
