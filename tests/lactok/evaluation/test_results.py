"""Stored results that somebody edited, or another program wrote: each loses itself alone, in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from page_runs import KINDS, Kind, write_geneval, write_row

from lactok.errors import UserError
from lactok.evaluation.compare import compare
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.results import ReconResult, load, load_results
from lactok.evaluation.stored_files import DEEPEST, read_json, read_records
from lactok.evaluation.table import markdown
from lactok.evaluation.writing import to_json, write_records

JPEG, TITOK = KINDS[1], KINDS[2]


def row(runs: Path, kind: Kind) -> None:
    ids = [f"{i}.png" for i in range(4)]
    write_row(runs, kind, "coco", ids, [None, "a bench", "a bus", "a cat"], {"0.png": "0.png", "1.png": "1.png"})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two results, of which tests damage the second."""
    for kind in (JPEG, TITOK):
        row(tmp_path / "runs", kind)
    return tmp_path / "runs"


def folder_of(runs: Path, name: str = "titok") -> Path:
    (found,) = runs.glob(f"{name}*__*")
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a result.json."""
    root = tmp_path_factory.mktemp("good")
    row(root, TITOK)
    return json.loads((folder_of(root) / "result.json").read_text())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100000, "is damaged"),
        ('{"schema": 2, "more": ' + "[" * 200 + "]" * 200 + "}", f"lists in lists, more than {DEEPEST}"),
        ('{"schema": 2, "more": 1e999}', "a number that is not finite"),
        ('{"schema": 2, "more": NaN}', "a number that is not finite"),
        ('{"schema": 2, "more": ' + "9" * 200 + "}", "more than 100 digits"),
        ('{"schema": 2, "more": ' + "9" * 5000 + "}", "is damaged"),
        ('{"schema": 2, "more": "\\ud800"}', "a text that is not Unicode"),
        ('{"schema": 2, "\\ud800": 1}', "a text that is not Unicode"),
        ('{"schema": ["' + "x" * 1000 + '"], "metrics": {}}', "this version reads"),
        ('{"schema": 1, "tokenizer": {}, "protocol": "abc"}', "is damaged"),
        ("null", "is not this project's"),
        ("", "is damaged"),
    ],
    ids=range(12),
)
def test_a_broken_result_is_left_out_in_a_line(runs: Path, text: str, why: str) -> None:
    (folder_of(runs) / "result.json").write_text(text)
    results = load_results(runs)
    assert [result.label for result in results] == [JPEG.name]
    (line,) = results.left_out
    assert why in line
    assert len(line) < 300
    assert line.isprintable()


def test_another_metric_than_a_number_is_named_by_its_place(runs: Path, good: dict[str, Any]) -> None:
    good = json.loads(json.dumps(good))
    good["metrics"] = {"x\ny" * 50: {"value": "high", "n": 1}}
    (folder_of(runs) / "result.json").write_bytes(to_json(good))
    (line,) = load_results(runs).left_out
    assert line.isprintable()
    assert len(line) < 300


@pytest.mark.parametrize(
    ("sizes", "without"), [([5, 5], [1.0]), ([5, 0], [1.0, 1.0]), ([5], [1.0]), ([], [])], ids=range(4)
)
def test_groups_that_do_not_fit_together_are_named_by_their_place(
    runs: Path, good: dict[str, Any], sizes: list[int], without: list[float]
) -> None:
    good = json.loads(json.dumps(good))
    good["metrics"] = {"rfid": {"value": 1.0, "n": 10, "groups": {"sizes": sizes, "without": without}}}
    (folder_of(runs) / "result.json").write_bytes(to_json(good))
    (line,) = load_results(runs).left_out
    assert "metrics.rfid.groups is" in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda frame: frame.assign(psnr="high"), "the column 'psnr' does not hold numbers"),
        (lambda frame: frame.assign(bits=["many"] * len(frame)), "the column 'bits' does not hold numbers"),
        (lambda frame: frame.drop(columns="id"), "has no column id"),
        (lambda frame: frame.assign(id=range(len(frame))), "the column id does not hold texts"),
        (lambda frame: frame.assign(id=None), "the column id has gaps"),
        (lambda frame: pandas.concat([frame] * 3), "rows and result.json"),
    ],
    ids=["text", "bits", "no id", "numbers", "gaps", "rows"],
)
def test_other_records_lose_that_result_alone(runs: Path, tmp_path: Path, change: Any, why: str) -> None:
    from reports import page

    path = folder_of(runs) / "records.parquet"
    change(pandas.read_parquet(path)).to_parquet(path)
    results = load_results(runs)
    first, second = results.recon
    with pytest.raises(UserError, match=why) as raised:
        compare(first, second)
    assert "\n" not in str(raised.value)
    page.build(results, tmp_path / "page")
    script = (tmp_path / "page" / "data" / "summary.js").read_text()
    summary = json.loads(script.partition(",")[2].rpartition(")")[0])
    assert len(summary["rows"]) == 2
    assert [row["name"] for row in summary["rows"] if "records" in row] == [JPEG.name]
    assert any(why in problem for problem in summary["problems"])


def test_other_records_of_geneval_are_named(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_geneval(tmp_path / name)
    first, second = (load(next((tmp_path / name).glob("geneval__*"))) for name in ("first", "second"))
    path = second.folder / "records.parquet"
    pandas.read_parquet(path).drop(columns="tag").to_parquet(path)
    with pytest.raises(UserError, match=r"records\.parquet has no column tag; run the command that made it again"):
        compare(first, second)


@pytest.mark.parametrize(
    "about",
    [
        {"machine": {"processor": 5}, "device": "cpu"},
        {"machine": {}, "device": ["cpu"]},
        {"device": "cpu", "seconds": {"wall": {"decode": 1e308}}, "images": {"decode": 10**50}},
        {"device": "cpu", "seconds": {"wall": {"decode": -1}}},
        {"device": "cpu", "seconds": []},
        "[" * 100000,
        "\ud800",
    ],
    ids=range(7),
)
def test_another_run_json_loses_times_and_machine_alone(runs: Path, tmp_path: Path, about: Any) -> None:
    from reports import figures, page

    text = about if isinstance(about, str) else json.dumps(about)
    (folder_of(runs) / "run.json").write_text(text, errors="surrogatepass")
    results = load_results(runs)
    assert len(results) == 2
    assert next(r for r in results if r.label == TITOK.name).seconds("decode") in (None, pytest.approx(1e258))
    page.build(results, tmp_path / "page")
    figures.build(results, tmp_path / "figures")


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png"])
def test_an_index_with_a_name_that_no_file_can_have(runs: Path, tmp_path: Path, name: str) -> None:
    from reports import page

    index = folder_of(runs) / "images" / "index.json"
    content = json.loads(index.read_text())
    content["pictures"][0]["file"] = name
    index.write_text(json.dumps(content))
    page.build(load_results(runs), tmp_path / "page")
    assert "index.json is damaged" in (tmp_path / "page" / "data" / "summary.js").read_text()


def test_a_picture_that_another_run_has_removed_leaves_no_broken_link(runs: Path, tmp_path: Path) -> None:
    from reports import page

    pictures = sorted((folder_of(runs) / "images").glob("*.png"))
    pictures[0].unlink()
    page.build(load_results(runs), tmp_path / "page")
    summary = (tmp_path / "page" / "data" / "summary.js").read_text()
    assert f"{pictures[0].name}: not a picture that can be read" in summary
    named = {part.partition('"')[0] for part in summary.split('"pictures/')[1:]}
    assert named == {path.name for path in (tmp_path / "page" / "pictures").iterdir()}


def test_the_folder_of_one_damaged_result_is_not_where_to_write_others(runs: Path) -> None:
    folder = folder_of(runs)
    (folder / "result.json").write_text("{")
    with pytest.raises(UserError, match="is the folder of one result, and that cannot be read") as raised:
        load_results(folder)
    assert "--out" not in str(raised.value)
    assert str(raised.value).endswith("run the command that made it again")


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, item in inside for found in leaves(item, (*place, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", 10**400, [[]]]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)


@pytest.mark.fuzz
@tries(120, 6000)
@given(st.data())
def test_fuzz_a_result_is_loaded_or_left_out_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, good: dict[str, Any], data: st.DataObject
) -> None:
    """A result with any values changed gives a table and JSON again, or a line that says what is wrong."""
    content = json.loads(json.dumps(good))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(leaves(content)[1:]))
        at = content
        for key in place[:-1]:
            at = at[key]
        if data.draw(st.booleans()):
            at[place[-1]] = data.draw(JSON)
        else:
            del at[place[-1]]
        if len(leaves(content)) == 1:
            break
    folder = tmp_path_factory.getbasetemp() / "fuzzed-result__limit5"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    check(folder)


@pytest.mark.fuzz
@tries(120, 6000)
@given(JSON)
@example({"schema": 1, "suite": "geneval", "images": "x", "tasks": {}})
@example({"schema": 1, "rewards": {}, "pictures": []})
@example({"schema": 2, "suite": [], "metrics": {}})
def test_fuzz_any_json_is_left_out_in_a_line(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-json"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    check(folder)


@pytest.mark.fuzz
@tries(120, 6000)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=4))
def test_fuzz_changed_bytes(
    tmp_path_factory: pytest.TempPathFactory, good: dict[str, Any], changes: list[tuple[int, bytes]]
) -> None:
    data = to_json(good)
    for position, put in changes:
        position %= len(data)
        data = data[:position] + put + data[position + len(put) :]
    folder = tmp_path_factory.getbasetemp() / "fuzzed-bytes"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_bytes(data)
    check(folder)


@pytest.mark.fuzz
@tries(150, 6000)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8), st.integers(0, 1 << 20))
def test_fuzz_changed_bytes_of_records(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    """A table with any bytes changed has the columns that its readers take for granted, or is named in a line."""
    path = tmp_path_factory.getbasetemp() / "records.parquet"
    columns: dict[str, Sequence[Any]] = {
        "id": ["a", "b"],
        "caption": [None, "x"],
        "psnr": [1.0, None],
        "near_ties": [1, 2],
    }
    write_records(path, columns)
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data[: max(1, cut % (2 * len(data)))])
    try:
        frame = read_records(path, ("id",), ("psnr", "near_ties"), 2)
    except Damaged as error:
        frame = None
        why = str(error)
    if frame is None:
        assert len(why) < 400
        assert "\n" not in why
    else:
        assert all(isinstance(value, str) for value in frame["id"])
        for name in frame.columns.intersection(["psnr", "near_ties"]):  # the name of a column may have changed
            assert frame[name].to_numpy("float64", na_value=0.0).shape == (len(frame),)


def check(folder: Path) -> None:
    """A result is loaded, and then can be shown and stored; or `Damaged` says why not in a short line."""
    why = ""
    try:
        result = load(folder)
    except Damaged as error:
        why = str(error)
        result = None
    assert len(why) < 400
    assert "\n" not in why
    if result is not None:
        assert json.loads(to_json(result.result))
        assert repr(result)
        if result.suite == "recon":
            assert markdown([result])  # type: ignore[list-item]


def test_json_is_read_whatever_its_size_says(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as handle:
        handle.truncate(1 << 29)
    with pytest.raises(Damaged, match="larger than 256 MB"):
        read_json(tmp_path / "x.json")
    shutil.rmtree(tmp_path)


def test_the_table_has_every_suite_that_has_scores(runs: Path) -> None:
    """Pictures of generators stand below the reconstructions, by suite and data set."""
    alone = load_results(runs).table()
    assert alone.startswith("| tokenizer")
    write_geneval(runs)
    both = load_results(runs).table()
    assert alone in both
    below = both.split(alone)[1]
    assert below.strip().startswith("geneval of ")
    assert "| toy-pictures" in below
    assert "overall ↑" in below
    assert "± is half the 95 % interval of the mean." in below
    only = load_results(runs)
    assert only.without(ReconResult).table().startswith("| pictures")


def test_the_table_keeps_other_images_apart(runs: Path) -> None:
    write_row(runs.parent / "fewer", KINDS[0], "coco", ["0.png", "1.png", "2.png"], [None] * 3, {"0.png": "0.png"})
    table = load_results(runs, runs.parent / "fewer").table()
    assert [line.split(", ")[1] for line in table.splitlines() if line.startswith("coco, ")] == ["3 images", "4 images"]
    assert len([line for line in table.splitlines() if line.startswith("| tokenizer")]) == 2
