"""What a reader has chosen stands in the page's address, and a link shows what its sender saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Chromium, select

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow  # a browser


def fragment(page: Page, view: str) -> str:
    """The address after `#`, once it has parameters of a view and has come to rest."""
    page.wait_for_url(lambda url: f"#{view}?" in url)
    page.wait_for_timeout(400)
    return str(page.evaluate("location.hash"))


def texts(page: Page, view: str) -> str:
    page.locator(f"#view-{view} [aria-busy]").wait_for(state="detached")
    return str(page.locator(f"#view-{view}").inner_text())


def choose(page: Page, view: str) -> None:
    """Make some choices in a view."""
    if view == "tables":
        select(page, "Family").select_option(index=1)
        page.get_by_role("searchbox", name="Tokenizer").fill("t")
        page.get_by_role("table", name="Runs found here").get_by_role("button", name="PSNR").click()
        page.get_by_role("combobox", name="Table", exact=True).select_option(index=1)
    elif view == "plots":
        select(page, "Across").select_option("tokens")
        select(page, "Up").select_option("ssim")
        page.get_by_role("checkbox", name="logarithmic").uncheck()
        page.get_by_role("group", name="Families shown").get_by_role("button").first.click()
    elif view == "pictures":
        select(page, "Tokenizer").select_option(index=1)
        select(page, "Samples").select_option("worst psnr")
        page.get_by_role("button", name="Next sample").click()
        page.get_by_role("button", name="Wipe").click()
    elif view == "records":
        select(page, "Run").select_option(index=1)
        page.get_by_role("searchbox", name="Sample or caption").fill("1")
    else:
        select(page, "Task").select_option(index=1)
        select(page, "Verdict").select_option("wrong")
        page.get_by_role("checkbox", name="with pictures only").uncheck()


@pytest.mark.parametrize("view", ["tables", "plots", "pictures", "records", "geneval"])
def test_a_link_shows_what_its_sender_saw(chromium: Chromium, usual_page: Path, view: str) -> None:
    with chromium.open(usual_page, fragment=f"#{view}") as (page, _):
        before = texts(page, view)
        choose(page, view)
        sent = fragment(page, view)
        seen = texts(page, view)
        values = page.locator(f"#view-{view} :is(select, input[type=search])").evaluate_all(
            "all => all.map(e => e.value)"
        )
    assert seen != before
    with chromium.open(usual_page, fragment=sent) as (page, _):
        page.wait_for_timeout(400)
        assert texts(page, view) == seen
        again = page.locator(f"#view-{view} :is(select, input[type=search])").evaluate_all(
            "all => all.map(e => e.value)"
        )
        assert again == values
        assert page.evaluate("location.hash") == sent


def test_a_view_keeps_its_filters_while_others_are_shown(chromium: Chromium, usual_page: Path) -> None:
    with chromium.open(usual_page) as (page, _):
        page.wait_for_timeout(400)
        assert page.evaluate("location.hash") == ""
        choose(page, "tables")
        sent = fragment(page, "tables")
        page.get_by_role("link", name="Plots").click()
        page.get_by_role("link", name="Tables").click()
        assert fragment(page, "tables") == sent
        page.go_back()
        page.go_back()
        assert fragment(page, "tables") == sent


@pytest.mark.parametrize(
    "made_up",
    [
        "#tables?family=none&tokens=x&sort=-none&table=..",
        "#plots?hidden=,,x&up=constructor",
        "#pictures?row=x&sample=1",
        "#records?run=__proto__",
        "#geneval?result=0&task=%00",
        "#tables?%E0%A4%A",
    ],
)
def test_an_address_that_names_what_is_not_there_shows_the_usual_page(
    chromium: Chromium, usual_page: Path, made_up: str
) -> None:
    view = made_up[1:].partition("?")[0]
    with chromium.open(usual_page, fragment=f"#{view}") as (page, _):
        page.wait_for_timeout(400)
        usual = texts(page, view)
    with chromium.open(usual_page, fragment=made_up) as (page, _):
        page.wait_for_timeout(400)
        assert texts(page, view) == usual
