"""The times of short commands: a row for each, and an error where one does not end as it should."""

import pytest

from benchmarks.speed import answers
from benchmarks.speed.answers import CASES, Case


def test_a_row_for_each_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    few = tuple(case for case in CASES if case.what in (answers.TORCH, "no tokenizer named", "`import lactok`"))
    monkeypatch.setattr(answers, "CASES", few)
    with pytest.raises(SystemExit) as ended:
        answers.main(["--rounds", "1"])
    assert ended.value.code == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [[f"| {c.what}", str(c.code)] for c in few]
    assert rows[0].endswith(" 1.00 |")  # torch, beside itself


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (Case("", "-m benchmarks.recon", 0), "ended with 2 instead of 0: .*--tokenizers"),
        (Case("", "-c 'raise SystemExit(3)'", 2), "ended with 3 instead of 2"),
        (Case("", "-c 'import sys; sys.exit(\"Traceback\")'", 1), "Traceback"),
    ],
)
def test_another_end_is_an_error(case: Case, said: str) -> None:
    with pytest.raises(answers.UserError, match=said):
        answers.seconds(case)


def test_the_mistakes_are_ten() -> None:
    assert sum(case.code == 2 for case in CASES) == 10
    assert len({case.arguments for case in CASES}) == len(CASES)
