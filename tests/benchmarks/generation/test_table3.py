"""Table 3 and Table 6 as commands: plans, published numbers, what cannot run, and seconds an image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_bad_input import error_of, run
from test_generators import Clouds  # noqa: F401 (registers the generator)

from benchmarks import published
from benchmarks.ablation import __main__ as ablation
from benchmarks.generation import times
from benchmarks.generation.estimate import stored_seconds
from benchmarks.generation.work import generate
from benchmarks.preference.notes import COCO_CAPTIONS
from benchmarks.table3 import __main__ as table3
from benchmarks.table3.systems import GENERATORS
from benchmarks.table3.table import markdown
from benchmarks.table3.work import Found
from lactok import registry
from lactok.evaluation import datasets
from lactok.evaluation.config import Settings
from lactok.evaluation.results import PicturesResult, load
from lactok.evaluation.timing import Timer
from lactok.tokenizer import Generator


def test_the_systems_are_those_of_the_paper() -> None:
    assert [system.key for system in GENERATORS] == list(published.table("generation").rows)
    assert {system.name for system in GENERATORS} <= set(registry.list_generators())


def test_a_dry_run_of_table_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of docs/table3.md: prompts, images, hours and disk, without any data or weights."""
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path / "nothing"))
    words = ["--dry-run", "--out", str(tmp_path / "out"), "--part", "1/8"]
    for key, row in published.table("generation_seconds").rows.items():
        (name,) = [system.name for system in GENERATORS if system.key == key]
        words += ["--seconds-per-image", f"{name}={row['seconds']:g}"]
    run(table3.main, *words)
    out = capsys.readouterr().out
    assert "in all: 55530 prompts, 72120 images to make, at least " in out
    assert "hours are unknown of sd1.5, lactokgen-h, lactokgen-h-star" in out
    (star,) = [line.split() for line in out.splitlines() if line.startswith("lactokgen-t-star") and " coco " in line]
    assert star[:8] == ["lactokgen-t-star", "coco", "5000", "5000", "of", "5000", "2.4", "3.3"]
    assert "part 1 of 8: about" in out
    assert "planned for 5,000 captions" in out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_table_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path / "nothing"))
    run(ablation.main, "cfg", "--dry-run", "--seconds-per-image", "2.4", "--out", tmp_path / "out")
    out = capsys.readouterr().out
    assert "in all: 20000 prompts, 20000 images to make, 13.3 hours of one process" in out
    for name in ("lactokgen-t-star@guidance=1.5", "lactokgen-t-star ", "lactokgen-t-star@guidance=3.0"):
        assert f"\n{name}" in out
    run(ablation.main, "cfg", "--dry-run", "--out", tmp_path / "out", "--limit", "7")
    assert "28 images to make, unknown hours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("cfg", "--scale", "full"), "--scale does not go with cfg"),
        (("cfg", "--dataset", "coco"), "--dataset does not go with cfg"),
        (("steps", "--guidance", "3"), "--guidance does not go with steps"),
        (("steps", "--dry-run"), "--dry-run does not go with steps"),
        (("cfg", "--guidance", "x"), "--guidance x: numbers separated by commas, as 1.5,2,3,7"),
        (("cfg", "--guidance", " , "), "--guidance is empty"),
        (("cfg", "--guidance", "0.5"), "option guidance=0.5: between 1 and 100"),
        (("cfg", "--generator", "lactokgen-t-star@guidance=3"), "leave guidance out, --guidance names the scales"),
        (("cfg", "--generator", "lactokgen"), "unknown generator 'lactokgen', did you mean"),
        (("cfg", "--metrics", "psnr"), "unknown metric 'psnr'"),
        (("cfg", "--seconds-per-image", "0"), "--seconds-per-image 0: write seconds above 0"),
        (("cfg", "--captions", "nothing.tsv"), "nothing.tsv"),
    ],
)
def test_mistakes_of_table_6(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(capsys, ablation.main, *words, "--out", "nowhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--generators", " "), "--generators is empty"),
        (("--generators", "sdxxl"), "unknown generator 'sdxxl', did you mean 'sdxl'"),
        (("--samples", "0"), "--samples 0: 1 or more"),
        (("--detector", "mask3former"), "unknown detector 'mask3former'"),
        (("--seconds-per-image", "sdxl=fast"), "--seconds-per-image sdxl=fast: write seconds above 0"),
        (("--metrics", "fid"), "fid is a distance to photographs"),
        (("--part", "3/2"), "--part 3/2: write I/N"),
    ],
)
def test_mistakes_of_table_3(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(capsys, table3.main, *words, "--out", "nowhere")


def test_without_captions_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path / "nothing"))
    assert "COCO's captions are not in" in error_of(capsys, table3.main, "--out", tmp_path / "out")
    assert "COCO's captions are not in" in error_of(capsys, ablation.main, "cfg", "--out", tmp_path / "out")


def test_an_empty_table_has_its_notes() -> None:
    assert "guidance 2 and temperature 0.1" in markdown(Found())
    assert COCO_CAPTIONS == 5000


PROMPTS = [{"prompt": f"picture {i}"} for i in range(4)]


def make(folder: Path, **changes: object) -> PicturesResult | None:
    """Make the pictures of `PROMPTS`; the result once all parts have theirs."""
    settings = Settings(**changes)  # type: ignore[arg-type]
    generate("toy-clouds", PROMPTS, folder, settings.run(), settings.execution(), samples=1)
    found = load(folder) if (folder / "result.json").exists() else None
    assert found is None or isinstance(found, PicturesResult)
    return found


class TestSeconds:
    @pytest.fixture(autouse=True)
    def _small_shards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets, "SHARD", 1)

    def test_they_stand_in_the_result_and_not_in_its_deterministic_files(self, tmp_path: Path) -> None:
        result = make(tmp_path / "a")
        assert result is not None
        assert result.timed_images == 4
        assert result.seconds_per_image is not None
        assert result.images_per_second == pytest.approx(1 / result.seconds_per_image)
        assert result.timed_on.endswith("one by one")
        assert "seconds" not in (tmp_path / "a" / "result.json").read_text()

    def test_several_at_a_time_on_a_cpu_are_not_called_one_by_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Generator, "batches_on_cpu", True)
        result = make(tmp_path / "a", batch_size=3)
        assert result is not None
        assert result.timed_on.endswith("batch size 3")

    def test_parts_add_up(self, tmp_path: Path) -> None:
        assert make(tmp_path / "a", part="1/2") is None
        result = make(tmp_path / "a", part="2/2")
        assert result is not None
        assert result.timed_images == 4
        assert sorted(p.name for p in (tmp_path / "a" / "times").iterdir()) == ["1-of-2.json", "2-of-2.json"]

    def test_a_second_run_changes_nothing_and_a_resumed_one_counts_what_it_made(self, tmp_path: Path) -> None:
        make(tmp_path / "a")
        before = (tmp_path / "a" / "run.json").read_bytes()
        make(tmp_path / "a")
        assert (tmp_path / "a" / "run.json").read_bytes() == before
        (tmp_path / "a" / "00002" / "samples" / "0000.png").unlink()
        result = make(tmp_path / "a")
        assert result is not None
        assert result.timed_images == 5

    def test_another_device_is_not_mixed_in(self, tmp_path: Path) -> None:
        run = Settings().run()
        folder = tmp_path / "a"
        for device, images, seconds in (("cpu", 2, 8.0), ("mps", 10, 1.0)):
            timer = Timer()
            timer.wall["generate"], timer.images["generate"] = seconds, images
            times.add(folder, replace(run, device=device), (0, 1), timer, 1)
        (first, timer), (second, _) = times.total(folder)
        assert (first.device, second.device) == ("mps", "cpu")
        assert timer.wall["generate"] / timer.images["generate"] == 0.1

    @pytest.mark.parametrize("damage", ["", "{", "[1]", '[{"device": "cpu"}]', '{"a": 1}'])
    def test_damaged_times_are_no_error(self, tmp_path: Path, damage: str) -> None:
        make(tmp_path / "a")
        (tmp_path / "a" / "times" / "1-of-1.json").write_text(damage)
        assert make(tmp_path / "a") is not None
        assert times.total(tmp_path / "a") == []

    def test_plans_take_the_seconds_of_earlier_runs(self, tmp_path: Path) -> None:
        make(tmp_path / "generated" / "toy-clouds__p")
        seconds, source = stored_seconds("toy-clouds", tmp_path)
        assert seconds is not None
        assert source.startswith("measured on 4 images")
        assert stored_seconds("toy-clouds@strength=0.5", tmp_path) == (None, "unknown")
        note = tmp_path / "generated" / "broken" / "generation.json"
        note.parent.mkdir()
        note.write_text(json.dumps({"generator": "toy-clouds"}))
        assert stored_seconds("toy-clouds", tmp_path) == (seconds, source)
