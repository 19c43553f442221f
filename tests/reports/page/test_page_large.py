"""What keeps a page of many records quick: little is loaded before it is looked at, and few rows are drawn."""

from __future__ import annotations

from pathlib import Path

import page_runs
import pytest
from browser import Chromium, select, until

pytestmark = pytest.mark.slow  # a browser

RECORDS, TOKENIZERS = 3000, 3


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    return page_runs.built(root, lambda runs: page_runs.write_large(runs, RECORDS, TOKENIZERS, pictures=24))


def test_what_is_loaded_first_does_not_grow_with_the_records(chromium: Chromium, large: Path, tmp_path: Path) -> None:
    small = page_runs.built(tmp_path, lambda runs: page_runs.write_large(runs, 100, TOKENIZERS, pictures=24))
    loaded = {}
    for site in (small, large):
        with chromium.open(site) as (page, watched):
            page.locator("tbody tr").first.wait_for()
            files = [r.removeprefix(watched.root) for r in watched.requests]
        loaded[site] = sum((site / f).stat().st_size for f in files)
        assert [f for f in files if f.startswith("data/")] == ["data/summary.js"]
    assert loaded[large] < 1.05 * loaded[small]
    kept = {site: sum(p.stat().st_size for p in (site / "data").iterdir()) for site in loaded}
    assert kept[large] > 2 * kept[small]  # what has grown lies in files that are not loaded


def test_records_are_drawn_a_page_at_a_time_and_loaded_a_run_at_a_time(chromium: Chromium, large: Path) -> None:
    with chromium.open(large, fragment="#records") as (page, watched):
        rows = page.locator("#view-records tbody tr")
        rows.first.wait_for()

        def loaded(start: str) -> int:
            return len({r for r in watched.requests if r.startswith(watched.root + start)})

        assert (rows.count(), loaded("data/records-"), loaded("data/samples-")) == (50, 1, 1)
        assert loaded("pictures/") <= 24
        assert page.evaluate("document.querySelectorAll('*').length") < 2500
        seen = {rows.first.inner_text()}
        page.get_by_role("button", name="Next").click()
        seen.add(rows.first.inner_text())
        page.get_by_role("button", name="Last").click()
        seen.add(rows.first.inner_text())
        assert (len(seen), rows.count()) == (3, 50)
        page.get_by_role("button", name="PSNR").click()
        best = float(rows.first.locator(".number").first.inner_text())
        page.get_by_role("button", name="Last").click()
        assert float(rows.last.locator(".number").first.inner_text()) < best - 15  # of all records, not of a page
        page.get_by_role("searchbox").fill(f"val/{RECORDS - 1:08}")
        assert rows.count() == 1
        select(page, "Run").select_option(index=1)
        until(page, "document.querySelector('#view-records table caption').textContent.includes('0-1')")
        assert (loaded("data/records-"), loaded("data/samples-")) == (2, 1)
        assert rows.count() == 1  # the search stays


def test_the_viewer_loads_the_pictures_of_one_sample(chromium: Chromium, large: Path) -> None:
    with chromium.open(large, fragment="#pictures") as (page, watched):
        page.locator(".frames img").first.wait_for()
        page.wait_for_load_state("load")
        full = {r for r in watched.requests if r.endswith(".png")}
        assert len(full) == TOKENIZERS + 1
        assert not [r for r in watched.requests if "/data/records-" in r]
        page.get_by_role("button", name="Next sample").click()
        until(page, "[...document.querySelectorAll('.frames img')].every(i => i.complete)")
        assert len({r for r in watched.requests if r.endswith(".png")}) == 2 * (TOKENIZERS + 1)
