"""The page's tables and plots in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import page_runs
import pytest
from browser import DESKTOP, PHONE, Chromium, select

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow  # a browser


@pytest.fixture
def page(chromium: Chromium, usual_page: Path) -> Iterator[Page]:
    with chromium.open(usual_page, fragment="#tables") as (page, _):
        yield page


def table(page: Page, caption: str = "Runs found here") -> Locator:
    return page.get_by_role("table", name=caption)


def column(page: Page, title: str) -> list[str]:
    """The texts of a column, from the top, with spaces made plain."""
    shown = table(page)
    heads = [t.strip() for t in shown.get_by_role("columnheader").all_inner_texts()]
    at = next(i for i, head in enumerate(heads) if head.startswith(title))
    cells = shown.locator("tbody tr").evaluate_all(f"rows => rows.map(r => r.children[{at}].innerText)")
    return [" ".join(c.split()) for c in cells]


def numbers(page: Page, title: str) -> list[float | None]:
    """A column's values without their intervals; None for a dash."""
    texts = [t.split("±")[0].strip(" *~").replace(",", "") for t in column(page, title)]
    return [None if t in ("–", "") else float(t) for t in texts]


def sort(page: Page, title: str) -> str:
    """Click a column's head; returns its aria-sort."""
    head = table(page).get_by_role("columnheader", name=title)
    head.get_by_role("button").click()
    assert table(page).locator("th[aria-sort]").count() == 1
    return str(head.get_attribute("aria-sort"))


@pytest.mark.parametrize("title", ["PSNR", "Bits", "Tokens", "rFID"])
def test_a_click_sorts_numbers_as_numbers_empty_cells_last(page: Page, title: str) -> None:
    for _ in range(2):
        order = sort(page, title)
        shown = numbers(page, title)
        known = [v for v in shown if v is not None]
        assert len(known) > 4
        assert known == sorted(known, reverse=order == "descending")
        assert shown == known + [None] * (len(shown) - len(known))
    assert order == ("ascending" if title == "PSNR" else "descending")


def natural(name: str) -> list[str | int]:
    """tokens=32 before tokens=256."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def test_a_click_sorts_names(page: Page) -> None:
    orders = []
    for _ in range(2):
        orders.append(sort(page, "Tokenizer"))
        names = column(page, "Tokenizer")
        assert names == sorted(names, key=natural, reverse=orders[-1] == "descending")
    assert set(orders) == {"ascending", "descending"}


def test_filters_narrow_the_table_and_together(page: Page) -> None:
    everything = len(page_runs.KINDS) + 3
    assert len(column(page, "Tokenizer")) == everything
    select(page, "Family").select_option("flextok")
    assert set(column(page, "Family")) == {"flextok"}
    select(page, "Tokens").select_option("256")
    assert column(page, "Tokenizer") == ["flextok-d18-d28@tokens=256"]
    select(page, "Family").select_option("")
    assert set(column(page, "Tokens")) == {"256"}
    select(page, "Tokens").select_option("none")
    assert set(column(page, "Tokenizer")) == {"identity", "jpeg@bits=3584"}
    select(page, "Tokens").select_option("")
    select(page, "Data set").select_option("flowers")
    assert len(column(page, "Tokenizer")) == 3
    page.get_by_role("searchbox", name="Tokenizer").fill("B64")
    assert column(page, "Tokenizer") == ["titok-b64"]
    page.get_by_role("searchbox", name="Tokenizer").fill("no such")
    assert "nothing matches" in table(page).inner_text()
    page.get_by_role("searchbox", name="Tokenizer").fill("")
    select(page, "Data set").select_option("")
    assert len(column(page, "Tokenizer")) == everything


def test_a_sorted_table_stays_sorted_when_filtered(page: Page) -> None:
    order = sort(page, "PSNR")
    select(page, "Data set").select_option("coco")
    shown = numbers(page, "PSNR")
    assert shown == sorted(shown, reverse=order == "descending", key=lambda v: v or 0.0)


def test_the_table_shows_what_is_stored(page: Page) -> None:
    rows = dict(zip(column(page, "Tokenizer"), column(page, "Bits"), strict=True))
    assert rows["lactok-h"] == "13,312"
    rows = dict(zip(column(page, "Tokenizer"), column(page, "LPIPS"), strict=True))
    assert rows["titok-b64"] == "–"
    assert "±" in rows["titok-s128"]


def plot(page: Page) -> Locator:
    return page.locator("svg.plot")


def points(page: Page) -> dict[str, tuple[float, float]]:
    """Where the marks are, in pixels, by the tokenizers' names."""
    marks = plot(page).locator(".point")
    places = marks.evaluate_all("ms => ms.map(m => { const b = m.getBoundingClientRect(); return [b.x, b.y] })")
    labels = [str(m.get_attribute("aria-label")).split(",")[0] for m in marks.all()]
    return dict(zip(labels, map(tuple, places), strict=True))


def test_the_plot_follows_its_axes(page: Page) -> None:
    page.get_by_role("link", name="Plots").click()
    select(page, "Measured on").select_option(index=0)
    by_bits = points(page)
    assert "titok-s128" in by_bits
    assert "identity" not in by_bits
    assert by_bits["titok-s128"][0] < by_bits["lactok-h"][0]  # 1,536 and 13,312 bits
    select(page, "Across").select_option("tokens")
    by_tokens = points(page)
    assert by_tokens["flextok-d18-d28@tokens=256"][0] == pytest.approx(by_tokens["llamagen-vq16"][0])
    select(page, "Up").select_option("rfid")
    by_rfid = points(page)
    assert by_rfid["titok-s128"][0] == pytest.approx(by_tokens["titok-s128"][0])
    assert by_rfid["titok-s128"][1] < by_rfid["llamagen-vq16"][1]  # its rFID is higher
    before = by_rfid["titok-s128"][0]
    page.get_by_label("logarithmic").uncheck()
    assert points(page)["titok-s128"][0] != pytest.approx(before)
    select(page, "Across").select_option("bits")
    page.get_by_label("with lossless rows").check()
    assert "identity" in points(page)


def test_the_legend_hides_a_family_and_the_plot_has_a_table(page: Page) -> None:
    page.get_by_role("link", name="Plots").click()
    numbers_of_plot = page.get_by_role("table", name="The plot's numbers")
    chip = page.get_by_role("button", name="titok", exact=True)
    assert "titok-s128" in numbers_of_plot.inner_text()
    chip.press("Enter")
    assert chip.get_attribute("aria-pressed") == "false"
    assert "titok-s128" not in points(page)
    assert set(points(page)) == set(numbers_of_plot.locator("tbody th").all_inner_texts())


def test_a_mark_says_its_values_by_pointer_and_by_keyboard(page: Page) -> None:
    page.get_by_role("link", name="Plots").click()
    hint = page.locator(".hint")
    assert not hint.is_visible()
    plot(page).locator(".point").first.focus()
    assert hint.is_visible()
    assert "PSNR" in hint.inner_html()
    page.mouse.move(0, 0)
    plot(page).locator(".point").first.blur()
    assert not hint.is_visible()
    plot(page).locator(".point").last.hover()
    assert hint.is_visible()


MEETING = """texts => {
  const boxes = texts.map(t => t.getBoundingClientRect());
  const apart = 4; // pixels: a text's box is higher than its letters
  const meet = (a, b) => a.left < b.right && a.right > b.left && a.top + apart < b.bottom && a.bottom - apart > b.top;
  return texts.filter((_, i) => boxes.some((other, j) => j < i && meet(boxes[i], other))).map(t => t.textContent);
}"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_numbers_and_names_of_a_plot_keep_clear_of_each_other(
    chromium: Chromium, usual_page: Path, size: tuple[int, int]
) -> None:
    with chromium.open(usual_page, size=size, fragment="#plots") as (page, _):
        numbers = plot(page).locator(".axes text:not(.axis-title)")
        names = plot(page).locator(".names text")
        for rate in ("bits", "bpp", "tokens", "decode"):
            select(page, "Across").select_option(rate)
            for logarithmic in (True, False):
                page.get_by_label("logarithmic").set_checked(logarithmic)
                assert numbers.count() >= 4
                assert names.count() >= 4
                assert numbers.evaluate_all(MEETING) == []
                assert names.evaluate_all(MEETING) == []


def test_a_hint_stays_in_the_plot(chromium: Chromium, usual_page: Path) -> None:
    with chromium.open(usual_page, size=PHONE, fragment="#plots") as (page, _):
        for mark in plot(page).locator(".point").all():
            mark.focus()
            hint, whole = page.locator(".hint").bounding_box(), plot(page).bounding_box()
            assert hint is not None
            assert whole is not None
            assert whole["x"] - 1 <= hint["x"]
            assert hint["x"] + hint["width"] <= whole["x"] + whole["width"] + 1
            assert hint["y"] >= whole["y"] - 1
