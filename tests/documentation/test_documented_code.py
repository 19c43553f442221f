"""Python on the pages: it compiles and names what there is; pages that a newcomer types are run as they stand."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import photograph, plugged
from documents import PAGES, ROOT, blocks, code_of, commands

import lactok
from benchmarks.geneval import detectors
from lactok.metrics import rewards
from reports.console import _file

REGISTRIES = {
    "lactok.detectors": detectors.DETECTORS,
    "lactok.colour_classifiers": detectors.COLOUR_CLASSIFIERS,
    "lactok.rewards": rewards.REWARDS,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_compiles_and_names_what_there_is(page: Path) -> None:
    for block in code_of(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lactok":
                assert hasattr(lactok, node.attr) or find_spec(f"lactok.{node.attr}"), node.attr


def run_page(page: Path, **given: Any) -> int:
    """Run a page's Python and its commands of this project in their order, in the working folder.

    Args:
        given: names that the page's Python takes as known.

    Returns:
        How many blocks of Python and commands were run.
    """
    count = 0
    for language, block in blocks(page):
        if language == "python" and (name := re.match(r"# (\w+\.py)\n", block)):
            Path(name[1]).write_text(block)
        elif language == "python":
            exec(compile(block, str(page), "exec"), {"__name__": "__main__", **given})
            count += 1
        elif language == "sh":
            Path("block.md").write_text(f"```sh\n{block}```\n")
            for command in commands(Path("block.md")):
                with pytest.raises(SystemExit) as stop:
                    importlib.import_module(_file(command.module)).main(list(command.arguments))
                assert stop.value.code == 0, command.line
                count += 1
    return count


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("index", 1), ("quick-start", 5)])
def test_a_page_for_newcomers_runs(empty: Path, name: str, count: int) -> None:
    assert run_page(ROOT / "docs" / f"{name}.md") == count


@pytest.mark.slow
def test_the_code_of_the_readme_runs(empty: Path) -> None:
    for name in ("cat.jpg", "photo.jpg"):
        photograph(0, 320, 256).save(name)
    code = code_of(ROOT / "README.md", "python")
    assert code
    for block in code:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__", "images": torch.rand(2, 3, 256, 256)})


@pytest.fixture
def judges(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The judges of the page, as its `pyproject.toml` declares them."""
    page = ROOT / "docs" / "adding-a-judge.md"
    (declared,) = map(tomllib.loads, code_of(page, "toml"))
    with ExitStack() as stack:
        for group, names in declared["project"]["entry-points"].items():
            points = stack.enter_context(plugged(monkeypatch, empty, REGISTRIES[group]))
            points.update({name: EntryPoint(name, value, group) for name, value in names.items()})
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("judges")
def test_the_page_on_adding_a_judge_runs() -> None:
    assert run_page(ROOT / "docs" / "adding-a-judge.md") == 4
