"""What a reader has chosen stands in the page's address, and a link shows what its sender saw."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import page_runs
import pytest
from browser import Chromium, go, select, until

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow  # a browser

REST = 400  # milliseconds after which an address is up to date


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual page with all papers' tables and with a second GenEval run, of other tasks."""
    from reports.page import build

    folder = tmp_path_factory.mktemp("address")
    page_runs.write_usual(folder / "runs")
    page_runs.write_geneval(folder / "runs", "other-pictures", tasks=("position", "counting"))
    build(folder / "runs", folder / "page", all_papers=True)
    return folder / "page"


def fragment(page: Page, view: str) -> str:
    """The address after `#`, once it has parameters of a view and has come to rest."""
    page.wait_for_url(lambda url: f"#{view}?" in url)
    page.wait_for_timeout(REST)
    return str(page.evaluate("location.hash"))


def loaded(page: Page, view: str) -> Locator:
    """A view whose data files have arrived."""
    shown = page.locator(f"#view-{view}")
    shown.locator(":is(tbody tr, article, .point, figure, .notice)").last.wait_for(state="attached")
    shown.locator("[aria-busy]").wait_for(state="detached")
    if view == "compare":
        shown.locator("table, .notice").wait_for()
    if view == "geneval":
        shown.locator(".cards > *").first.wait_for()
    return shown


def texts(page: Page, view: str) -> str:
    return str(loaded(page, view).inner_text())


def controls(page: Page, view: str) -> list[str]:
    """The values of a view's controls, and which buttons are pressed."""
    shown = page.locator(f"#view-{view} :is(select, input[type=search], input[type=checkbox], [aria-pressed])")
    value = "e => e.ariaPressed ?? (e.type === 'checkbox' ? String(e.checked) : e.value)"
    return list(shown.evaluate_all(f"all => all.map({value})"))


def sort(page: Page, table: str, column: str) -> None:
    page.get_by_role("table", name=table).get_by_role("button", name=column).click()


def other_set(page: Page) -> None:
    select(page, "Data set").select_option(index=1)


def overview(page: Page) -> None:
    other_set(page)
    page.get_by_role("button", name="Next photograph").click()
    sort(page, "Results", "PSNR")


def tables(page: Page) -> None:
    other_set(page)
    select(page, "Family").select_option("titok")
    select(page, "Tokens").select_option("128")
    page.get_by_role("searchbox", name="Tokenizer").fill("t")
    sort(page, "Runs found here", "PSNR")
    select(page, "Table").select_option(index=1)


def plots(page: Page) -> None:
    other_set(page)
    select(page, "Across").select_option("tokens")
    select(page, "Up").select_option("ssim")
    page.get_by_role("checkbox", name="logarithmic").uncheck()
    page.get_by_role("checkbox", name="with lossless rows").check()
    page.get_by_role("group", name="Families shown").get_by_role("button").first.click()


def pictures(page: Page) -> None:
    other_set(page)
    select(page, "Tokenizer").select_option(index=1)
    select(page, "Samples").select_option("worst psnr")
    page.get_by_role("button", name="Next sample").click()
    page.get_by_text("Tokenizers shown").click()
    page.get_by_role("group", name="Tokenizers shown").get_by_role("button").first.click()
    page.get_by_text("Tokenizers shown").click()
    page.get_by_role("button", name="Error map").click()


def compare(page: Page) -> None:
    other_set(page)
    first = select(page, "Compare all with")
    until(page, "e => e.options.length === 3", first.element_handle())  # their file has been loaded
    first.select_option(index=1)
    select(page, "Metric").select_option("ssim")


def records(page: Page) -> None:
    other_set(page)
    select(page, "Run").select_option(index=1)
    page.get_by_role("searchbox", name="Sample or caption").fill("1")
    name = select(page, "Run").locator("option:checked").inner_text()
    sort(page, f"Records of {name}", "PSNR")


def geneval(page: Page) -> None:
    from playwright.sync_api import expect

    shown = loaded(page, "geneval").locator(".shown")
    expect(shown).to_have_text("12 of 12 verdicts")
    select(page, "Result").select_option(index=1)
    expect(shown).to_have_text("18 of 18 verdicts")
    select(page, "Task").select_option("colors")  # which the first result does not have
    select(page, "Verdict").select_option("wrong")
    page.get_by_role("checkbox", name="with pictures only").uncheck()


CHOOSE: dict[str, Callable[[Page], None]] = {
    each.__name__: each for each in (overview, tables, plots, pictures, compare, records, geneval)
}


@pytest.mark.parametrize("view", CHOOSE)
def test_a_link_shows_what_its_sender_saw(chromium: Chromium, site: Path, view: str) -> None:
    with chromium.open(site, fragment=f"#{view}") as (page, _):
        before = texts(page, view)
        CHOOSE[view](page)
        sent = fragment(page, view)
        seen, values = texts(page, view), controls(page, view)
    assert seen != before
    with chromium.open(site, fragment=sent) as (page, _):
        assert fragment(page, view) == sent
        assert texts(page, view) == seen
        assert controls(page, view) == values


def test_a_view_keeps_its_choices_while_others_are_shown(chromium: Chromium, site: Path) -> None:
    with chromium.open(site) as (page, _):
        page.wait_for_timeout(REST)
        assert page.evaluate("location.hash") == ""
        go(page, "Tables")
        tables(page)
        sent = fragment(page, "tables")
        go(page, "Plots")
        assert "set=" in fragment(page, "plots")
        go(page, "Tables")
        assert fragment(page, "tables") == sent
        page.go_back()
        page.go_back()
        assert fragment(page, "tables") == sent


def test_a_view_that_is_left_does_not_take_back_the_address(chromium: Chromium, site: Path) -> None:
    """What a view writes a moment later must not undo a link that was followed before it."""
    with chromium.open(site, fragment="#tables") as (page, _):
        page.add_init_script("addEventListener('hashchange', event => event.stopImmediatePropagation())")
        page.reload()  # now a page that is slow to learn of its new address
        sort(page, "Runs found here", "PSNR")
        page.evaluate("location.hash = '#plots'")
        page.wait_for_timeout(REST)
        assert page.evaluate("location.hash") == "#plots"


def test_a_link_followed_within_the_page_takes_back_other_choices(chromium: Chromium, site: Path) -> None:
    with chromium.open(site, fragment="#tables") as (page, _):
        tables(page)
        fragment(page, "tables")
        page.evaluate("location.hash = '#tables?family=flextok'")
        assert fragment(page, "tables") == "#tables?family=flextok"
        assert select(page, "Data set").input_value() != ""
        names = page.get_by_role("table", name="Runs found here").locator("tbody th")
        assert names.all_inner_texts() == ["flextok-d18-d28@tokens=32", "flextok-d18-d28@tokens=256"]


def test_a_sample_that_its_order_does_not_have_is_shown_all_the_same(chromium: Chromium, site: Path) -> None:
    """The order of samples leaves out what the tokenizer has no picture of, which differs between pages."""
    with chromium.open(site, fragment="#pictures") as (page, _):
        pictures(page)
        sent = fragment(page, "pictures").replace("worst+psnr", "worst+none")
    sample = "flowers/0003.jpg"
    with chromium.open(site, fragment=re.sub(r"sample=[^&]*", f"sample={sample}", sent)) as (page, _):
        assert page.locator(".viewer h2.sample").inner_text().startswith(sample)


@pytest.mark.parametrize(
    "made_up",
    [
        "#overview?set=x&sample=y&sort=__proto__",
        "#tables?set=constructor&family=none&tokens=x&sort=-none&table=..",
        "#plots?hidden=,,x&up=constructor",
        "#pictures?row=x&sample=1",
        "#compare?set=x&first=__proto__&metric=constructor",
        "#records?run=__proto__&sort=-x",
        "#geneval?result=0&task=%00",
        "#tables?%E0%A4%A",
    ],
)
def test_an_address_that_names_what_is_not_there_shows_the_usual_page(
    chromium: Chromium, site: Path, made_up: str
) -> None:
    view = made_up[1:].partition("?")[0]
    with chromium.open(site, fragment=f"#{view}") as (page, _):
        page.wait_for_timeout(REST)
        usual, address = texts(page, view), page.evaluate("location.hash")
    with chromium.open(site, fragment=made_up) as (page, _):
        page.wait_for_timeout(REST)
        assert texts(page, view) == usual
        assert page.evaluate("location.hash") == address
