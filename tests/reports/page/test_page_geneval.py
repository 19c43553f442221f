"""GenEval's verdicts on the page: those of a damaged or foreign file are named in one line, and the page stays."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas
import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from page_runs import write_geneval

from lactok.evaluation.results import GenEvalResult, load
from lactok.evaluation.writing import to_json
from reports.page import geneval

VERDICT = {"id": "00000/0000", "tag": "one", "prompt": "a", "correct": True, "reason": "", "error": None}


class NoPictures:
    """Stands for the page's pictures and copies none."""

    def add(self, path: Path, side: int) -> None:
        return None


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> GenEvalResult:
    found = load(write_geneval(tmp_path_factory.mktemp("runs")))
    assert isinstance(found, GenEvalResult)
    return found


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("boxes", '{"kite": [[1, 2, 3, 4]]}', "boxes.kite.0.4: Field required"),
        ("boxes", '{"kite": [[]]}', "boxes.kite.0.0: Field required"),
        ("boxes", '{"kite": [[1, 2, 3, 4, NaN]]}', "boxes.kite.0.4: Input should be a finite number"),
        ("boxes", '{"kite": 3}', "boxes.kite: Input should be a valid list"),
        ("boxes", "[" * 10_000, "boxes: Invalid JSON"),
        ("colours", '{"kite": {"red": 1}}', "colours.kite: Input should be a valid list"),
        ("prompt", None, "prompt: Input should be a valid string"),
    ],
)
def test_a_damaged_verdict_is_named(tmp_path: Path, column: str, value: str | None, what: str) -> None:
    folder = write_geneval(tmp_path / "runs")
    records = pandas.read_parquet(folder / "records.parquet")
    records.loc[3, column] = value
    records.to_parquet(folder / "records.parquet")
    problems: list[str] = []
    (line,) = geneval.summary([load(folder)], NoPictures(), None, problems)  # type: ignore[arg-type, list-item]
    assert "verdicts" not in line
    assert len(problems) == 1
    assert what in problems[0]
    assert len(problems[0]) < 400


def test_composed_scenes_say_that_some_break_their_caption(tmp_path: Path) -> None:
    lines = []
    for name in ("scenes-120x4-seed0", "mine"):
        found = load(write_geneval(tmp_path / "runs", name))
        assert isinstance(found, GenEvalResult)
        lines.append(geneval._line(found)["note"])
    assert "a third of them break their caption on purpose" in lines[0]
    assert "on purpose" not in lines[1]


def test_the_reason_of_an_empty_score_stands_in_the_note(tmp_path: Path) -> None:
    folder = write_geneval(tmp_path / "runs")
    stored = json.loads((folder / "result.json").read_text())
    stored["metrics"]["overall"] |= {"value": None, "ci95": None, "reason": "one task is missing"}
    (folder / "result.json").write_bytes(to_json(stored))
    found = load(folder)
    assert isinstance(found, GenEvalResult)
    line = geneval._line(found)
    assert line["overall"] == {"value": None, "text": "-"}
    assert line["note"].endswith("toy is not the official detector - under overall: one task is missing.")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=10,
)
boxes = st.dictionaries(st.sampled_from(["kite", ""]), st.lists(st.lists(st.floats() | json_values, max_size=6)))
texts = st.none() | st.text(max_size=20) | (boxes | json_values).map(json.dumps) | st.floats() | st.binary(max_size=3)


@pytest.mark.fuzz
@tries(200, 5000)
@given(texts, texts, st.fixed_dictionaries({}, optional=dict.fromkeys(VERDICT, texts)))
@example('{"kite": [[1, 2, 3, 4]]}', "{}", {})
@example('{"kite": [[1, 2, 3, 4, 1e999]]}', "{}", {})
@example('{"kite": [[1e308, -1e308, 3, 4, 0.5]]}', '{"kite": ["red"]}', {})
@example("{}", "{}", {"id": "9" * 300})
@example("{}", "{}", {"id": "a\0b"})
@example("{" + '"a":[' * 5000, "[]", {})
@example('{"kite": [[' + "9" * 5000 + ", 2, 3, 4, 5]]}", "{}", {})
def test_every_verdict_is_shown_or_a_fault(
    result: GenEvalResult, found: Any, colours: Any, others: dict[str, Any]
) -> None:
    record = {**VERDICT, **others, "boxes": found, "colours": colours}
    try:
        verdict = geneval._verdict(record, result, NoPictures())  # type: ignore[arg-type]
    except ValueError:  # which the page names
        return
    assert isinstance(verdict["prompt"], str)
    assert verdict["correct"] in (True, False, None)
    for seen in verdict["objects"]:
        assert len(seen["box"]) == 4
        assert all(math.isfinite(number) for number in [*seen["box"], seen["score"]])
    json.dumps(verdict, allow_nan=False)
