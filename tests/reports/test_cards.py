"""The tables of the model cards: made from kept results and curves, and these are of today's weights."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from page_runs import write_geneval
from safetensors.torch import save_file

from lactok.evaluation.results import load_results
from reports.__main__ import main
from reports.cards import CARDS, KEPT, ROOT, asked, rendered_cards

CARD = """# net
<!-- files net: begin -->
<!-- files: end -->

Seen:

<!-- results resize-8 jpeg: begin -->
old
<!-- results: end -->
<!-- curves net: begin -->
<!-- curves: end -->
After.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of one card, and beside it `runs` and `trainings` that have what it asks for."""
    folder = tmp_path / "project" / CARDS
    folder.mkdir(parents=True)
    (folder / "net.md").write_text(CARD)
    (folder / "other.md").write_text("# no tables\n")
    save_file({"a": torch.zeros(1000, 20), "b": torch.zeros(())}, folder / "net.safetensors")
    for name in ("resize-8", "jpeg", "webp"):
        shutil.copytree(ROOT / "docs" / "sample-run" / name, tmp_path / "runs" / name)
    (tmp_path / "trainings" / "net").mkdir(parents=True)
    rows = [{"step": 0, "loss": 1.0}, {"step": 99, "held_out_psnr": 17.23456, "held_out_codes": 12.0}]
    (tmp_path / "trainings" / "net" / "curve.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return tmp_path / "project"


def run(root: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["cards", "--root", str(root), *words])
    return int(str(ended.value.code))


def test_it_writes_keeps_and_checks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = ("--runs", str(root.parent / "runs"), "--trainings", str(root.parent / "trainings"))
    assert run(root, *kept) == 0
    text = (root / CARDS / "net.md").read_text()
    assert "| `net`" in text and "0.02 M" in text  # noqa: PT018
    assert hashlib.sha256((root / CARDS / "net.safetensors").read_bytes()).hexdigest() in text
    assert text.index("| resize-8") < text.index("| jpeg")
    assert "webp" not in text and "old" not in text  # noqa: PT018
    assert re.search(r"\| `net` +\| +100 \| +17\.23 \| +12 \|", text)
    assert text.endswith("<!-- curves: end -->\nAfter.\n")
    assert run(root, "--check") == 0
    (root / CARDS / "net.md").write_text(text.replace("17.23", "17.24"))
    assert run(root, "--check") == 2
    assert "net.md is not what docs/cards gives; run `python -m reports cards`" in capsys.readouterr().err
    assert run(root) == 0
    assert (root / CARDS / "net.md").read_text() == text


def test_verdicts_of_a_generator(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, runs = root / CARDS / "net.md", root.parent / "runs"
    card.write_text("<!-- verdicts gen-tiny: begin -->\n<!-- verdicts: end -->\n")
    write_geneval(runs, "gen-tiny", tasks=("single_object", "counting"), prompts=3)
    assert run(root, "--runs", str(runs)) == 0
    head, _, row = card.read_text().splitlines()[1:4]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["generator", "single_object", "counting", "overall"]
    assert row.split("|")[1].strip() == "`gen-tiny`"
    assert row.split("|")[2].strip() == "50 % (10 to 90)"  # every second of six pictures is right
    card.write_text("<!-- results gen-tiny: begin -->\n<!-- results: end -->\n")
    assert run(root) == 2
    assert "holds a result of geneval; name gen-tiny in a place of another kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "keep a run anew with `python -m reports cards --runs DIR`"),
        (("--runs", "empty"), "--runs empty holds no results"),
        (("--trainings", "empty"), "empty has no training of net"),
        (("--check", "--runs", "empty"), "--check keeps nothing new"),
    ],
)
def test_what_is_missing_is_told(
    root: Path,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root.parent)
    Path("empty").mkdir()
    assert run(root, *words) == 2
    assert message in capsys.readouterr().err


def test_the_cards_are_what_is_kept() -> None:
    for path, text in rendered_cards(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m reports cards`"


def test_what_is_kept_is_of_todays_weights() -> None:
    kept = load_results(ROOT / KEPT / "runs").recon if asked(ROOT, "results") else []
    for result in kept:
        for asset in result.tokenizer["assets"]:
            file = ROOT / CARDS / f"{asset['name']}.safetensors"
            if file.is_file():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                assert digest == asset["sha256"], f"{result.label}: measure {asset['name']} again"
