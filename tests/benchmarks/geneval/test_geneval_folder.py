"""Folders of generated pictures as people have them: what is missing, misnamed or foreign is said, in few lines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from judges import DrawnColours, DrawnDetector, picture, write

from benchmarks.geneval import __main__ as geneval
from benchmarks.geneval import detectors, folder, prompts, suite, summary
from lactok.errors import UserError
from lactok.evaluation.results import load_results
from lactok.evaluation.store import Store
from reports.tables import found as found_tables

T = TypeVar("T")
CAT = ("cat", "red", (5, 5, 25, 25))
OWN = {"tag": "one", "prompt": "a cat", "include": [{"class": "cat", "count": 1}]}
RED = {"tag": "colour", "prompt": "a red cat", "include": [{"class": "cat", "count": 1, "color": "red"}]}


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(detectors.DETECTORS.registered, "drawn", DrawnDetector)
    monkeypatch.setitem(detectors.COLOUR_CLASSIFIERS.registered, "drawn", DrawnColours)
    monkeypatch.setattr(DrawnDetector, "calls", 0)


def run(tmp: Path, *arguments: object, code: int = 0) -> list[dict[str, Any]]:
    """Results of the command on the folder `images`, one sample a prompt."""
    words = ["--images", tmp / "images", "--samples", 1, "--out", tmp / "out", "--annotate", "none", *arguments]
    with pytest.raises(SystemExit) as stop:
        geneval.main([*map(str, words), "--detector", "drawn", "--colours", "drawn"])
    assert stop.value.code == code
    return [json.loads(p.read_text()) for p in sorted((tmp / "out").glob("*/result.json"))]


def error_of(capsys: pytest.CaptureFixture[str], tmp: Path) -> str:
    run(tmp, code=2)
    assert not list((tmp / "out").glob("*/result.json"))
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_no_readable_sample_is_a_mistake_and_writes_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write(tmp_path / "images", number, OWN, [picture(CAT)])
        (tmp_path / "images" / f"{number:05}" / "samples" / "0000.png").write_bytes(b"no picture")
    error = error_of(capsys, tmp_path)
    assert error == "error: images: none of its 3 pictures can be read; the first, 00000/0000: not an image"


def test_samples_of_any_image_ending_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "images", 0, OWN, [])
    samples = tmp_path / "images" / "00000" / "samples"
    picture(CAT).save(samples / "0000.webp", lossless=True)
    picture(CAT).save(samples / "0001.PNG")
    picture().save(samples / "2.jpg", quality=95)
    (found,) = run(tmp_path)
    assert found["metrics"]["one"]["value"] == pytest.approx(2 / 3)
    assert {"id": "00000", "reason": "samples are .PNG, .jpg, .webp files; the official program reads .png alone"} in (
        found["remarks"]
    )
    picture(CAT).save(samples / "0000.png")
    shutil.rmtree(tmp_path / "out")
    assert "0000.png and 0000.webp have the same number; leave one of them out" in error_of(capsys, tmp_path)
    (samples / "0000.png").unlink()
    write(tmp_path / "images", 1, OWN, [picture(CAT)])
    (tmp_path / "images" / "1").mkdir()
    assert "00001 and 1 have the same number" in error_of(capsys, tmp_path)


def test_a_task_that_lost_all_its_prompts_is_named_and_overall_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "images", 0, OWN, [picture(CAT)])
    write(tmp_path / "images", 1, RED, [])
    (found,) = run(tmp_path)
    why = "it would be the mean of 1 of 2 tasks, without colour"
    assert found["tasks"] == ["one", "colour"]
    assert found["metrics"]["one"]["value"] == 1.0
    assert found["metrics"]["colour"] == {
        "value": None,
        "ci95": None,
        "n": 0,
        "prompts": 0,
        "reason": "no picture of its 1 prompt can be judged",
    }
    assert found["metrics"]["overall"] == {"value": None, "ci95": None, "n": 1, "reason": why}
    assert found["metrics"]["per_image"]["value"] == 1.0
    out = capsys.readouterr().out
    assert f"- under overall: {why}.\n" in out
    assert "- under colour: no picture of its 1 prompt can be judged.\n" in out
    (table,) = found_tables.build(load_results(tmp_path / "out"))
    cells = dict(zip([c.key for c in table.columns], table.rows[0].cells, strict=True))
    assert (cells["overall"].measured, cells["overall"].reason) == (None, why)
    assert cells["colour"].reason == "no picture of its 1 prompt can be judged"


def test_pictures_that_cannot_be_read_lose_a_task_too(tmp_path: Path) -> None:
    write(tmp_path / "images", 0, OWN, [picture(CAT)])
    write(tmp_path / "images", 1, RED, [picture(CAT)])
    (tmp_path / "images" / "00001" / "samples" / "0000.png").write_bytes(b"")
    (found,) = run(tmp_path)
    assert found["metrics"]["overall"]["reason"] == "it would be the mean of 1 of 2 tasks, without colour"


def test_the_task_of_a_missing_folder_is_known_among_genevals_own_prompts(tmp_path: Path) -> None:
    official = prompts.official()
    other = next(i for i, prompt in enumerate(official) if prompt["tag"] != "single_object")
    for number in (*range(20), other + 1):
        write(tmp_path, number, official[number], [picture()])
    read = folder.read(tmp_path, 1)
    assert read.unknown is None
    assert read.tasks == {"single_object": other, official[other]["tag"]: 2}
    (tmp_path / f"{other + 1:05}" / "metadata.jsonl").write_text("{")
    assert folder.read(tmp_path, 1).tasks == read.tasks
    own = folder.read(tmp_path, 1, asked=dict.fromkeys(range(other + 2), RED))
    assert own.tasks == {"single_object": 20, "colour": other - 18}


def test_a_missing_folder_of_unknown_task_leaves_overall_empty(tmp_path: Path) -> None:
    for number in (0, 2):
        write(tmp_path / "images", number, OWN, [picture(CAT)])
    (found,) = run(tmp_path)
    assert found["metrics"]["one"]["value"] == 1.0
    assert found["metrics"]["overall"] == {
        "value": None,
        "ci95": None,
        "n": 2,
        "reason": "the task of 00001 is not known, and may be one that the mean of 1 task would lack",
    }


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_stray_number_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], dry_run: bool) -> None:
    for number in (0, 1, 999):
        write(tmp_path / "images", number, OWN, [picture(CAT)])
    results = run(tmp_path, *(["--dry-run"] if dry_run else []))
    out = capsys.readouterr().out
    assert "left out: 00002 to 00998: no such folders (997)\n" in out
    assert "note: 00999: judged, though it looks like a stray: its number is far from the others\n" in out
    assert sum(line.startswith(("left out", "note")) for line in out.splitlines()) == 2
    if not dry_run:
        (found,) = results
        assert found["dataset"]["skipped"] == [{"id": "00002 to 00998", "reason": "no such folders (997)"}]
        assert "997 folders or pictures are left out" in found["comparable_note"]
        assert found["metrics"]["overall"]["value"] == 1.0  # what lies before a stray is not missed


def test_a_flood_of_damaged_samples_is_a_few_names_and_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "images", 0, OWN, [picture(CAT)])
    for number in range(1, 60):
        path = write(tmp_path / "images", number, OWN, [])
        (path / "samples" / "0000.png").write_bytes(b"no picture")
    (found,) = run(tmp_path)
    assert len(found["dataset"]["skipped"]) == 59
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert line.endswith("00010/0000 and 49 more, named in result.json: not an image")


def test_a_generator_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write(tmp_path / "images", number, OWN, [picture(CAT)])
    good = suite.read_subject(tmp_path / "images", 1, None, DrawnDetector, DrawnColours)

    def judge(name: str, samples: int, *rest: Any) -> Any:
        if name == "sd3":
            raise UserError("it takes classes")
        if name == "sd1.5":
            raise ZeroDivisionError("a bug")
        return suite.judge_images(good, *rest[:4])

    monkeypatch.setattr(suite, "judge_generator", judge)
    words = ["--samples", "1", "--annotate", "none", "--detector", "drawn", "--colours", "drawn"]
    for names, code in (("sd3,sd1.5,sdxl", 3), ("sd3", 2)):
        with pytest.raises(SystemExit) as stop:
            geneval.main(["--generators", names, *words, "--out", str(tmp_path / "out")])
        assert stop.value.code == code
        assert len(list((tmp_path / "out").glob("*/result.json"))) == 1
    said = capsys.readouterr().err
    assert "failed: sd3: it takes classes\n" in said
    assert "failed: sd1.5: ZeroDivisionError: a bug\n" in said
    assert "error: it takes classes\n" in said


@pytest.mark.parametrize("kind", ["geneval-verdicts", "geneval-detections"])
@pytest.mark.parametrize("content", [{"other": 1}, {"records": "[1]", "notes": "{}"}, {"records": "{", "notes": "["}])
def test_stored_verdicts_of_another_program_are_made_again(tmp_path: Path, kind: str, content: dict[str, Any]) -> None:
    write(tmp_path / "images", 0, OWN, [picture(CAT)])
    (before,) = run(tmp_path)
    for stored in ("geneval-verdicts", kind):
        for path in (tmp_path / "out" / "store" / stored).rglob("*.npz"):
            Store(tmp_path / "out").put(stored, path.stem, content)
    assert run(tmp_path) == [before]
    assert DrawnDetector.calls == (2 if kind == "geneval-detections" else 1)


def error_or_none(call: Callable[[], T], longest: int) -> T | None:
    """What a call gives; None for a mistake that is told in one line of so many characters at most."""
    try:
        return call()
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) <= longest
    return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
clauses = st.fixed_dictionaries(
    {},
    optional={
        "class": st.sampled_from(["cat", "dog", "unicorn"]) | json_values,
        "count": st.integers(-1, 10**30) | json_values,
        "color": st.sampled_from(["red", "mauve"]) | json_values,
        "position": st.lists(st.sampled_from(["left of", 0, 1, -1]), max_size=3) | json_values,
    },
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.sampled_from(["one", "overall", "counting"]) | json_values,
        "prompt": st.text() | json_values,
        "include": st.lists(clauses | json_values, max_size=3) | json_values,
        "exclude": st.lists(clauses, max_size=2) | json_values,
        "more": json_values,
    },
)
texts = metadata.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
GOOD = json.dumps(OWN).encode()


@pytest.mark.fuzz
@tries(150, 5000)
@given(texts)
@example(b"\xef\xbb\xbf" + GOOD)
@example(b'{"tag": "one", "prompt": "a", "include": ' + b"[" * 100_000)
@example(b'{"tag": "one", "prompt": "a", "more": ' + b"[" * 980 + b"]" * 980 + b"}")
@example(b'{"tag": "\\ud800", "prompt": "\\udfff", "include": []}')
@example(b'{"tag": "a\\nb", "prompt": "", "include": []}')
@example(b'{"tag": "one", "prompt": "a", "include": [{"class": "cat", "count": 1e999}]}')
@example(b'{"tag": "one", "prompt": "a", "include": [{"class": "cat", "count": ' + b"9" * 5000 + b"}]}")
@example(b"\xff\xfe{}")
@example(b" " * 1_000_001)
def test_every_metadata_is_a_prompt_or_a_note(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    tmp = tmp_path_factory.mktemp("prompts")
    write(tmp / "images", 0, OWN, [picture(CAT)])
    write(tmp / "images", 1, OWN, [picture(CAT)])
    (tmp / "images" / "00001" / "metadata.jsonl").write_bytes(text)
    read = folder.read(tmp / "images", 1)
    assert read.asked == 2
    assert len(read.entries) + len(read.left_out) == 2
    assert len(read.sha256) == 64
    if len(read.entries) == 1:
        assert read.left_out[0].text.startswith("metadata.jsonl")
        assert sum(read.tasks.values()) == 1
        assert read.unknown is not None
    asked = [(entry.id, entry.prompt) for entry in read.entries]
    error_or_none(lambda: suite.check_words(asked, DrawnDetector, DrawnColours), 1500)
    scored = [summary.Scored(entry.prompt["tag"], entry.id, True) for entry in read.entries]
    unknown = "" if read.unknown is None else read.unknown.text
    _, over_all = summary.without_lost_tasks(*summary.scores(scored), read.tasks, unknown)
    assert (over_all["overall"]["value"] is None) == (len(scored) == 1)
    shutil.rmtree(tmp)


names = st.sampled_from(
    ["0", "00", "00000", "00001", "1", "00007", "99999", "12345678901", "٣", "1.5", ".0", "-1", "samples", "x"]
)
samples = st.sampled_from(
    ["0000.png", "0000.jpg", "0.png", "0001.webp", "٢.png", "grid.png", ".0002.png", "3.txt", "4"]
)


@pytest.mark.fuzz
@tries(100, 3000)
@given(st.dictionaries(names, st.tuples(st.sampled_from([None, GOOD, b"{"]), st.sets(samples, max_size=4)), max_size=6))
@example({"00000": (GOOD, {"0000.png"}), "9" * 200: (GOOD, {"0000.png"})})
@example({"00000": (GOOD, {"0000.png"}), "00999999": (GOOD, {"0000.png"})})
def test_every_layout_is_read_or_named_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, layout: dict[str, tuple[bytes | None, set[str]]]
) -> None:
    root = tmp_path_factory.mktemp("layout") / "images"
    root.mkdir()
    for name, (metadata_file, files) in layout.items():
        (root / name / "samples").mkdir(parents=True)
        if metadata_file is not None:
            (root / name / "metadata.jsonl").write_bytes(metadata_file)
        for file in files:
            (root / name / "samples" / file).write_bytes(b"")
    read = error_or_none(lambda: folder.read(root, 1), 1000)
    shutil.rmtree(root.parent)
    if read is None:
        return
    assert len(read.left_out) + len(read.remarks) <= 4 * len(layout) + 1
    missed = sum(note.count for note in read.left_out)
    assert len(read.entries) + missed >= read.asked
    assert sum(read.tasks.values()) + (read.unknown.count if read.unknown else 0) <= read.asked
    ids = [sample.id for sample in read.pictures]
    assert len({(int(a), int(b)) for a, b in (i.split("/") for i in ids)}) == len(ids) > 0


def test_a_limit_draws_nothing_of_the_gap_before_an_empty_stray(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        write(tmp_path / "images", number, OWN, [picture(CAT)])
    (without_stray,) = run(tmp_path, "--limit", 3)
    (tmp_path / "images" / "00999").mkdir()
    run(tmp_path, "--limit", 3)
    assert without_stray["dataset"]["n"] == 3
    capsys.readouterr()
    run(tmp_path)
    out = capsys.readouterr().out
    assert "left out: 00999: no metadata.jsonl" in out
    assert "looks like a stray" not in out


def test_drawn_verdicts_of_an_earlier_run_go_and_the_users_own_pictures_stay(tmp_path: Path) -> None:
    write(tmp_path / "images", 0, OWN, [picture(CAT)])
    run(tmp_path, "--annotate", "all")
    (folder,) = (tmp_path / "out").glob("*/annotated")
    assert [path.name for path in folder.iterdir()] == ["00000-0000.png"]
    (folder / "mine.png").write_bytes(b"mine")
    run(tmp_path, "--annotate", "none")
    assert [path.name for path in folder.iterdir()] == ["mine.png"]
    (folder / "mine.png").unlink()
    run(tmp_path, "--annotate", "none")
    assert not folder.exists()
