"""The page for everybody: accessibility rules, keyboard alone, a phone's width, light and dark, little to load."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import axe
import pytest
from browser import DESKTOP, PHONE, Chromium, select

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow  # a browser

VIEWS = ("overview", "tables", "plots", "pictures", "compare", "records", "geneval")


def go(page: Page, view: str) -> None:
    page.evaluate(f"location.hash = '#{view}'")
    page.locator(f"#view-{view}").wait_for()
    if view in ("records", "geneval", "compare"):
        page.locator(f"#view-{view} :is(tbody tr, article, .notice)").last.wait_for()


def wipe(page: Page) -> None:
    go(page, "pictures")
    page.get_by_role("button", name="Wipe").click()


def error_map(page: Page) -> None:
    go(page, "pictures")
    page.get_by_role("button", name="Error map").click()
    page.get_by_role("button", name="Zoom in").click()


def help_(page: Page) -> None:
    page.get_by_role("button", name="Help").click()


def verdict(page: Page) -> None:
    go(page, "geneval")
    page.locator("article.card button").first.click()


def nothing_matches(page: Page) -> None:
    go(page, "tables")
    page.get_by_role("searchbox", name="Tokenizer").fill("no such")


STATES: dict[str, Callable[[Page], None]] = {
    **{view: lambda page, view=view: go(page, view) for view in VIEWS},
    "wipe": wipe,
    "error map": error_map,
    "help": help_,
    "verdict": verdict,
    "nothing matches": nothing_matches,
}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_serious_fault_of_accessibility(
    chromium: Chromium, usual_page: Path, size: tuple[int, int], dark: bool
) -> None:
    found = {}
    with chromium.open(usual_page, size=size, dark=dark) as (page, _):
        for name, enter in STATES.items():
            enter(page)
            if faults := axe.violations(page):
                found[name] = faults
            if page.get_by_role("dialog").count():
                page.keyboard.press("Escape")
    assert found == {}


def test_no_view_scrolls_sideways_on_a_phone(chromium: Chromium, usual_page: Path) -> None:
    with chromium.open(usual_page, size=PHONE, has_touch=True) as (page, _):
        for name, enter in STATES.items():
            enter(page)
            wide = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} is {wide} px too wide"
            outside = page.evaluate(
                """(() => {
                  const scrolls = (e) => e && e !== document.documentElement &&
                    (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
                  return [...document.querySelectorAll('main :is(h1, h2, button, select, input, svg, figure, p)')]
                    .filter(e => e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)
                    .filter(e => !scrolls(e)).map(e => e.outerHTML.slice(0, 100));
                })()"""
            )
            assert outside == [], name
            if page.get_by_role("dialog").count():
                page.keyboard.press("Escape")


def test_a_table_hints_at_columns_out_of_sight(chromium: Chromium, usual_page: Path) -> None:
    from playwright.sync_api import expect

    with chromium.open(usual_page, size=PHONE, fragment="#tables") as (page, _):
        scroller = page.get_by_role("region", name="Runs found here")
        page.locator(".scroller.more").first.wait_for()
        scroller.evaluate("s => { s.scrollLeft = s.scrollWidth }")
        expect(page.locator(".scroller").first).not_to_have_class(re.compile(r"\bmore\b"))


def test_what_is_read_on_a_phone_is_large_enough(chromium: Chromium, usual_page: Path) -> None:
    with chromium.open(usual_page, size=PHONE) as (page, _):
        for view in VIEWS:
            go(page, view)
            small = page.evaluate(
                """[...document.querySelectorAll('main *')].filter(e => {
                  if (!e.getClientRects().length || e.closest('.unseen')) return false;
                  if (getComputedStyle(e).visibility === 'hidden') return false;
                  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) return false;
                  const svg = e.ownerSVGElement;
                  const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
                  return parseFloat(getComputedStyle(e).fontSize) * scale < 10.5;
                }).map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`)"""
            )
            assert small == [], view


@pytest.fixture
def page(chromium: Chromium, usual_page: Path) -> Iterator[Page]:
    with chromium.open(usual_page) as (page, _):
        yield page


FOCUS = """() => {
  const e = document.activeElement, b = e.getBoundingClientRect(), ring = e.querySelector(':scope > .reach');
  const drawn = (s) => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0;
  e.dataset.walked = 'yes';
  return {
    what: e.outerHTML.slice(0, 120),
    body: e === document.body,
    visible: drawn(getComputedStyle(e)) || !!ring && getComputedStyle(ring).strokeWidth === '3px',
    inside: b.bottom > 0 && b.top < innerHeight && b.right > 0 && b.left < innerWidth,
  };
}"""


@pytest.mark.parametrize("view", VIEWS)
def test_the_tab_key_alone_reaches_everything(page: Page, view: str) -> None:
    """Every control takes the focus, shows it and is in sight; none holds it."""
    go(page, view)
    page.locator(".skip").focus()
    page.evaluate("document.activeElement.dataset.walked = 'yes'")
    for _ in range(200):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at["body"]:
            break
        assert at["visible"], f"no mark of the focus on {at['what']}"
        assert at["inside"], f"out of sight: {at['what']}"
    else:
        raise AssertionError("the focus does not leave the page")
    missed = page.evaluate(
        """[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex="0"]')].filter(e =>
          e.checkVisibility({contentVisibilityAuto: true}) && !e.disabled && !e.dataset.walked
        ).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert missed == []


def test_the_skip_link_leads_to_the_view_that_is_shown(page: Page) -> None:
    go(page, "plots")
    page.locator(".skip").press("Enter")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    assert page.get_by_role("heading", name="Plots", exact=True).is_visible()


def test_a_walk_without_a_mouse(page: Page) -> None:
    """From the first key to a sorted table, a hidden family, another sample, and out of the help."""

    def to(what: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("w => document.activeElement.textContent.trim().startsWith(w)", what):
                return
        raise AssertionError(f"the focus does not come to {what}")

    to("PSNR")
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert page.evaluate("document.activeElement.textContent").startswith("PSNR")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.textContent").startswith("PSNR")
    go(page, "pictures")
    first = page.locator(".viewer h2.sample").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".viewer h2.sample").inner_text() != first
    page.keyboard.press("e")
    assert page.get_by_role("button", name="Error map").get_attribute("aria-pressed") == "true"


def test_what_changes_is_told_to_screen_readers(page: Page) -> None:
    said = page.locator("#live")
    go(page, "tables")
    page.get_by_role("button", name="PSNR").click()
    assert "sorted by PSNR" in said.inner_text()
    select(page, "Family").select_option("titok")
    assert "2 of 8 runs" in said.inner_text()
    go(page, "pictures")
    page.keyboard.press("ArrowRight")
    assert "sample 2 of" in said.inner_text()


def background(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


def test_the_theme_follows_the_system_and_the_reader_and_is_remembered(chromium: Chromium, usual_page: Path) -> None:
    light, dark = 600, 165
    with chromium.open(usual_page, dark=True) as (page, _):
        assert background(page) < dark
        select(page, "Theme").select_option("light")
        assert background(page) > light
        page.reload()
        assert background(page) > light
        select(page, "Theme").select_option("")
        assert background(page) < dark
        page.emulate_media(color_scheme="light")
        assert background(page) > light
        select(page, "Theme").select_option("dark")
        page.reload()
        assert background(page) < dark


def test_nothing_is_loaded_that_is_not_shown(chromium: Chromium, usual_page: Path) -> None:
    """The first view needs the page's own files; records, verdicts and pictures come when they are looked at."""
    with chromium.open(usual_page) as (page, watched):
        page.locator("tbody tr").first.wait_for()
        asked = [r.removeprefix(watched.root) for r in watched.requests]
        assert [r for r in asked if r.startswith("data/")] == ["data/summary.js"]
        shown = page.locator(".overview .small img").evaluate_all("imgs => imgs.map(i => i.getAttribute('src'))")
        assert {r for r in asked if r.startswith("pictures/")} <= set(shown)  # the small ones of one photograph
        go(page, "records")
        asked = [r.removeprefix(watched.root) for r in watched.requests]
        assert sum(r.startswith("data/records-") for r in asked) == 1
        assert sum(r.startswith("data/samples-") for r in asked) == 1
        assert not [r for r in asked if r.startswith("data/geneval-")]


def test_views_have_addresses_and_titles(page: Page) -> None:
    titles = set()
    for view in VIEWS:
        page.get_by_role("navigation").locator(f"a[href='#{view}']").click()
        page.locator(f"#view-{view}").wait_for()
        assert page.url.partition("?")[0].endswith(f"#{view}")  # after it stands what the view shows
        assert page.locator("[aria-current=page]").get_attribute("href") == f"#{view}"
        assert page.locator("main > :visible").count() == 1
        titles.add(page.title())
    assert len(titles) == len(VIEWS)
    page.go_back()
    assert page.locator("#view-records").is_visible()
