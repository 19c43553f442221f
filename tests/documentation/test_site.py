"""The documentation site: built with every warning an error, whole, and nothing in it fetched from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import NOTEBOOKS, ROOT

import lactok


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout as `tox -e docs` does."""
    missing = [name for name in ("mkdocs", "material", "mkdocstrings", "nbconvert") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; the extra `docs` brings it: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    pages += [path.relative_to(ROOT / "docs").with_suffix("") for path in NOTEBOOKS]
    pages += [Path("models", card.stem) for card in (ROOT / "lactok" / "bundled").glob("*.md")]
    assert len(pages) > 30
    for page in pages:
        folder = page.parent if page.name == "index" else page
        assert (site / folder / "index.html").is_file(), page


@pytest.mark.slow
def test_the_reference_has_signatures_and_docstrings(site: Path) -> None:
    text = (site / "api" / "using" / "index.html").read_text()
    assert 'id="lactok.load"' in text
    assert "Raises" in text
    assert "&gt;&gt;&gt;" not in re.sub(r"<(code|pre)\b.*?</\1>", "", text, flags=re.DOTALL)  # doctests are code


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(https?:[^\"> ]+)", page.read_text())
        assert fetched == [], page


@pytest.mark.slow
def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("lactok", "baselines", "benchmarks", "examples", "mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    targets = ("nowhere.md", "metrics.md#nowhere", "tutorials/nowhere.ipynb", "../lactok/nowhere.py")
    with (tmp_path / "docs" / "faq.md").open("a") as handle:
        handle.write("".join(f"\n[a link]({target})\n" for target in targets))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 4, done.stderr
    for target in targets:
        assert any(target in line for line in warnings), target


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    assert set(lactok.__all__) - set(re.findall(r"^::: lactok\.(\w+)$", text, re.MULTILINE)) == set()


def test_links_of_pages_outside_the_site_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *(ROOT / "examples").glob("*/README.md")):
        targets = re.findall(r"\]\((?!https?:|#)([^()#\s]+)", path.read_text())
        assert [target for target in targets if not (path.parent / target).exists()] == [], path
