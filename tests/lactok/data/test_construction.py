"""Data construction: what every stage gets, what is written, and that nothing is lost or made twice."""

from __future__ import annotations

import gc
import json
import tarfile
import weakref
from pathlib import Path
from typing import Any

import pytest
from conftest import photograph
from reference import ROOT

from lactok.data import __main__ as command
from lactok.data import shards, steps
from lactok.data.filtering import rules
from lactok.evaluation.folders import files_under

FILE = ROOT / "tests" / "data_stages.py"
STAGES = ("--prompts", f"{FILE}:Endless", "--generator", f"{FILE}:Painter", "--captioner", f"{FILE}:Polite")
SMALL = (*STAGES, "--filters", f"{FILE}:Fits", "--count", "10", "--shard", "4", "--threads", "1")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        command.main([str(word) for word in words])
    return int(str(stop.value.code or 0))


def content(out: Path) -> dict[str, bytes]:
    """All files but the times."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "run.json"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def members(*tars: Path) -> dict[str, bytes]:
    found = {}
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The .json of each pair in a folder of shards."""
    files = members(*sorted(folder.glob("*.tar")))
    return {name[:-5]: json.loads(data) for name, data in files.items() if name.endswith(".json")}


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten pairs in three shards."""
    assert run("--out", tmp_path / "ten", *SMALL) == 0
    return tmp_path / "ten"


def test_pairs_that_pass_and_pairs_that_do_not(ten: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, rejected = records(ten / "pairs"), records(ten / "rejected")
    assert sorted([*kept, *rejected]) == [f"{number:09}" for number in range(10)]
    assert kept
    assert rejected
    for record in [*kept.values(), *rejected.values()]:
        fits = record["facts"]["shown"] in record["prompt"]
        assert fits == (record["seed"] % 3 != 0)
        assert record["caption"] == f"here is {record['prompt']}"
        assert record["scores"] == {"fits": float(fits)}
        assert ("rejected" in record) != fits
    assert all(r["rejected"] == {"fits": "0 is not above 0.5: the other colour"} for r in rejected.values())
    files = members(*sorted((ten / "pairs").glob("*.tar")))
    assert {name[:9] for name in files if name.endswith(".png")} == set(kept)
    assert all(files[f"{key}.txt"].decode() == record["caption"] for key, record in kept.items())
    counts = json.loads((ten / "counts.json").read_text())
    assert counts["shards"] == 3
    assert (counts["pairs"], counts["pictures"], counts["captions"]) == (10, 10, 10)
    assert counts["kept"] == counts["passed"]["fits"] == len(kept)
    assert counts["rejected"] == {"fits": len(rejected)}
    assert run("--out", ten, *SMALL) == 0
    assert f"rejected: fits  {len(rejected):>9}" in capsys.readouterr().out


def test_rejected_pairs_are_no_data(ten: Path) -> None:
    """A reader of data sets that gets the whole folder takes the pairs alone."""
    assert {path.parent.name for path in files_under(ten, (".tar",))} == {"pairs"}
    assert not (ten / ".work").exists()


def test_a_second_call_makes_nothing(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(ten)
    monkeypatch.setattr(steps, "work", lambda shard: pytest.fail(f"{shard} is made again"))
    assert run("--out", ten, *SMALL) == 0
    assert content(ten) == before


def test_more_pairs_later(ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last shard is not whole: its pairs are taken over, and the shards are those of one call."""
    made = steps._made
    asked: list[str] = []
    monkeypatch.setattr(
        steps, "_made", lambda process, shard, timer: (asked.append(shard), made(process, shard, timer))
    )
    assert run("--out", ten, *SMALL, "--count", "18") == 0
    assert asked == ["000002", "000003", "000004"]
    assert json.loads((ten / "run.json").read_text())["steps"]["pictures"]["pairs"] == 18
    assert run("--out", tmp_path / "once", *SMALL, "--count", "18") == 0
    assert content(ten) == content(tmp_path / "once")


@pytest.mark.slow
def test_several_processes_give_the_same_bytes(ten: Path, tmp_path: Path) -> None:
    assert run("--out", tmp_path / "two", *SMALL, "--workers", "2") == 0
    assert content(tmp_path / "two") == content(ten)


def test_other_settings_are_refused(ten: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(ten)
    for words, what in (
        (("--seed", "1"), "(seed)"),
        (("--filters", f"{FILE}:Fits>0.2"), "(filters)"),
        (("--format", "webp", "--captioner", "raw"), "(captioner, format)"),
    ):
        assert run("--out", ten, *SMALL, *words) == 2
        assert f"holds pairs of other settings {what}: choose another --out" in capsys.readouterr().err
    assert content(ten) == before


def test_real_photographs_are_mixed_in(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for i, name in enumerate(("a.png", "b.jpg", "c.png")):
        photograph(i).save(real / name)
    (real / "a.txt").write_text("a red\n bus")
    (real / "b.json").write_text('{"caption": "a green bus"}')
    (real / "d.png").write_bytes(b"no picture")
    (real / "d.txt").write_text("a red bus")
    assert run("--out", tmp_path / "out", *SMALL, "--real", real, "--filters", "none", "--count", "4") == 0
    kept, rejected = records(tmp_path / "out" / "pairs"), records(tmp_path / "out" / "rejected")
    assert sorted(kept) == [*(f"{n:09}" for n in range(4)), "real-000000000", "real-000000001"]
    assert [kept[key]["source"] for key in sorted(kept)] == ["generated"] * 4 + ["real"] * 2
    assert kept["real-000000000"]["caption"] == "here is a red bus"
    assert kept["real-000000001"]["name"] == "b.jpg"
    assert {record["name"]: list(record["rejected"]) for record in rejected.values()} == {
        "c.png": ["no caption"],
        "d.png": ["no picture"],
    }
    files = members(tmp_path / "out" / "pairs" / "real-000000.tar")
    assert files["real-000000001.jpg"] == (real / "b.jpg").read_bytes()
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert (counts["pairs"], counts["pictures"], counts["captions"], counts["kept"]) == (8, 7, 6, 6)


def test_real_photographs_alone(tmp_path: Path) -> None:
    """And shards that were constructed are real pairs for the next construction."""
    assert run("--out", tmp_path / "first", *SMALL, "--filters", "none") == 0
    words = ("--captioner", "raw", "--filters", f"{FILE}:Fits", "--shard", "6")
    assert run("--out", tmp_path / "second", "--real", tmp_path / "first" / "pairs", *words) == 0
    counts = json.loads((tmp_path / "second" / "counts.json").read_text())
    assert (counts["shards"], counts["pairs"]) == (2, 10)
    assert 0 < counts["kept"] < 10
    assert all(r["caption"].startswith("here is a ") for r in records(tmp_path / "second" / "pairs").values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--filters", "none"), "name --prompts, a file or a source of prompts, or --real photographs"),
        (("--prompts", f"{FILE}:Endless"), "has prompts without end: say by --count how many pictures to make"),
        ((*STAGES, "--count", "0"), "--count 0: 1 or more"),
        ((*STAGES, "--shard", "0"), "--shard 0: 1 or more"),
        (("--prompts", "no/such.txt"), "give a source of prompts or a file of prompts"),
        (("--prompts", "scene"), "unknown source of prompts 'scene'"),
        (("--prompts", f"{FILE}:Painter"), "Painter is a generator, not a source of prompts"),
        (("--prompts", f"{FILE}:Nothing"), "unknown class of"),
        (("--prompts", f"{FILE}:COLOURS"), "COLOURS is no stage: derive it from lactok.data.Captioner"),
        ((*STAGES, "--count", "1", "--generator", "flux"), "unknown generator 'flux', did you mean 'flux.1-dev'?"),
        ((*STAGES, "--count", "1", "--generator", "titok-l32-gen"), "is conditioned on class, not on texts"),
        ((*STAGES, "--count", "1", "--captioner", "qwen"), "unknown captioner 'qwen'"),
        ((*STAGES, "--count", "1", "--captioner", "raw@x=1"), "unknown option of raw 'x'"),
        ((*STAGES, "--count", "1", "--filters", "mps>high"), "write NAME>VALUE, as in image_reward>0.9"),
        ((*STAGES, "--count", "1", "--filters", "hpsv2"), "say above which score a pair is kept, as in hpsv2>0.5"),
        ((*STAGES, "--count", "1", "--filters", "mps>1 mps>2"), "names mps twice"),
        ((*STAGES, "--count", "1", "--filters", "beauty>1"), "unknown filter 'beauty'"),
        ((*STAGES, "--count", "1", "--real", "nowhere"), "--real nowhere: name a folder of pictures"),
        ((*STAGES, "--count", "1", "--seconds-per-pair", "2"), "--seconds-per-pair is for --dry-run"),
        (("--captioner", "raw", "--count", "2", "--real", "tests/lactok/data"), "holds no images"),
    ],
)
def test_wrong_arguments_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert run("--out", tmp_path / "out", *words) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert said in error
    assert not (tmp_path / "out").exists()


def test_prompts_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a red  bus"}\n{"caption": "a green bus"}\n')
    words = ("--generator", f"{FILE}:Painter", "--captioner", "raw", "--filters", "none", "--format", "webp")
    assert run("--out", tmp_path / "out", "--prompts", prompts, *words) == 0
    kept = records(tmp_path / "out" / "pairs")
    assert [kept[key]["caption"] for key in sorted(kept)] == ["a red bus", "a green bus"]
    assert run("--out", tmp_path / "more", "--prompts", prompts, *words, "--count", "3") == 2
    assert "holds 2 prompts" in capsys.readouterr().err
    (tmp_path / "second.jsonl").write_text('{"prompt": "a red cat"}\n')
    assert run("--out", tmp_path / "both", "--prompts", tmp_path / "*.jsonl", *words) == 0
    assert [r["caption"] for _, r in sorted(records(tmp_path / "both" / "pairs").items())][2] == "a red cat"
    prompts.write_text('{"prompt": 3}\n')
    assert run("--out", tmp_path / "more", "--prompts", prompts, *words) == 2
    assert 'prompt 1 has no "prompt" that is a text' in capsys.readouterr().err


def test_a_stage_that_loses_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", tmp_path / "out", *SMALL, "--filters", f"{FILE}:Short") == 2
    assert "filter short returned 0 results for 1 pairs" in capsys.readouterr().err


def test_one_stage_is_loaded_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stage has loaded can be freed when the next step begins."""
    ready, alive = steps._Process.ready, list[weakref.ref[Any]]()

    def noted(process: steps._Process) -> Any:
        stage = ready(process)
        if all(ref() is not stage for ref in alive):
            gc.collect()
            assert [ref() for ref in alive if ref() is not None] == []
            alive.append(weakref.ref(stage))
        return stage

    monkeypatch.setattr(steps._Process, "ready", noted)
    assert run("--out", tmp_path / "out", *SMALL) == 0
    assert len(alive) == 3


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("--out", out, *SMALL, "--dry-run") == 0
    said = capsys.readouterr().out
    assert not out.exists()
    for line in (
        "generator: painter",
        "captioner: polite",
        "filter: fits > 0.5",
        "shards: 3 of up to 4 pairs, 3 of them missing",
        "pairs to make: 10, 10 of them by the generator",
        "hours: not known until pairs were made here; make some by --count, or name --seconds-per-pair, and ask again",
        "roughly, of 24 px as png",
    ):
        assert line in said
    assert run("--out", out, *SMALL, "--dry-run", "--seconds-per-pair", "720", "--workers", "2") == 0
    assert "hours: 1.00 (720 s a pair as you say; 2 at a time)" in capsys.readouterr().out
    assert run("--out", out, *SMALL) == 0
    capsys.readouterr()
    assert run("--out", out, *SMALL, "--count", "14", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "pairs to make: 4, 4 of them by the generator" in said
    assert "as measured on 10 pairs here" in said
    assert "each, measured here)" in said


def test_the_papers_filters_are_rewards() -> None:
    assert [str(rule) for rule in rules(command.FILTERS)] == ["image_reward > 0.9", "mps > 12"]
    assert not rules("image_reward>0.9")[0].passes(0.9)
    assert shards.WORDS == 20
