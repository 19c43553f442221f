"""The page's tables and plots in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import page_runs
import pytest
from browser import DESKTOP, PHONE, Chromium, go, select

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
    everything = len(page_runs.KINDS)
    assert len(column(page, "Tokenizer")) == everything
    select(page, "Family").select_option("flextok")
    assert column(page, "Tokenizer") == ["flextok-d18-d28@tokens=32", "flextok-d18-d28@tokens=256"]
    select(page, "Tokens").select_option("256")
    assert column(page, "Tokenizer") == ["flextok-d18-d28@tokens=256"]
    select(page, "Family").select_option("")
    assert set(column(page, "Tokens")) == {"256"}
    select(page, "Tokens").select_option("none")
    assert set(column(page, "Tokenizer")) == {"identity", "jpeg@bits=3584"}
    select(page, "Tokens").select_option("")
    page.get_by_role("searchbox", name="Tokenizer").fill("B64")
    assert column(page, "Tokenizer") == ["titok-b64"]
    page.get_by_role("searchbox", name="Tokenizer").fill("no such")
    assert "nothing matches" in table(page).inner_text()
    page.get_by_role("searchbox", name="Tokenizer").fill("")
    assert len(column(page, "Tokenizer")) == everything


def choose(page: Page, dataset: str) -> None:
    """Choose a data set by the beginning of its title."""
    shown = page.get_by_role("combobox", name="Data set", exact=True)
    title = next(t for t in shown.locator("option").all_inner_texts() if t.startswith(dataset))
    shown.select_option(label=title)


def test_data_sets_are_never_mixed_and_all_views_show_the_same(page: Page) -> None:
    titles = select(page, "Data set").locator("option").all_inner_texts()
    assert titles == ["coco, 12 images, square-256 at 64 px", "flowers, 12 images, square-256 at 64 px"]
    choose(page, "flowers")
    assert column(page, "Tokenizer") == ["llamagen-vq16", "titok-b64", "titok-s128"]
    go(page, "Overview")
    rows = table(page, "Results").locator("tbody th")
    assert rows.all_inner_texts() == ["llamagen-vq16", "titok-b64", "titok-s128"]
    choose(page, "coco")
    assert rows.count() == len(page_runs.KINDS)
    go(page, "Plots")
    assert set(points(page)) == {kind.name for kind in page_runs.KINDS} - {"identity"}
    go(page, "Tables")
    assert len(column(page, "Tokenizer")) == len(page_runs.KINDS)
    go(page, "Pictures")
    select(page, "Data set").select_option(label="flowers, 64 px")
    go(page, "Records")
    assert page.get_by_role("combobox", name="Run", exact=True).locator("option").count() == 3


def test_a_sorted_table_stays_sorted_when_filtered(page: Page) -> None:
    order = sort(page, "PSNR")
    select(page, "Family").select_option("titok")
    shown = numbers(page, "PSNR")
    assert shown == sorted(shown, reverse=order == "descending", key=lambda v: v or 0.0)


def test_the_table_shows_what_is_stored(page: Page) -> None:
    rows = dict(zip(column(page, "Tokenizer"), column(page, "Bits"), strict=True))
    assert rows["lactok-h"] == "13,312"
    rows = dict(zip(column(page, "Tokenizer"), column(page, "LPIPS"), strict=True))
    assert rows["titok-b64"] == "–"
    assert "±" in rows["titok-s128"]


def test_the_best_is_marked_where_the_difference_is_outside_the_interval(page: Page) -> None:
    marked = table(page).locator("strong.best")
    rows = marked.evaluate_all("ms => ms.map(m => m.closest('tr').querySelector('th').innerText.trim())")
    assert rows == ["lactok-h"] * 3  # PSNR, SSIM and LPIPS; not identity and not JPEG, which are references
    assert page.get_by_text("Bold is the best of a column", exact=False).is_visible()


@pytest.mark.parametrize("size", [DESKTOP, (390, 844)], ids=["desktop", "phone"])
def test_the_overview_has_pictures_numbers_and_a_plot(
    chromium: Chromium, usual_page: Path, size: tuple[int, int]
) -> None:
    with chromium.open(usual_page, size=size) as (page, _):
        page.locator(".plot .names text").first.wait_for()
        tops = [page.locator(f".overview {part}").bounding_box() for part in (".pictures", ".numbers", ".plot")]
        pictures, shown, drawn = (box["y"] for box in tops if box is not None)
        if size == DESKTOP:
            assert pictures < 200 < shown < size[1]
            assert page.locator(".overview .scroller").evaluate("s => s.scrollWidth - s.clientWidth") <= 0
        else:  # numbers first
            assert shown < 300 < pictures
            heads = table(page, "Results").get_by_role("columnheader").all_inner_texts()
            assert [head.split()[0] for head in heads[:3]] == ["Tokenizer", "PSNR", "SSIM"]
        assert drawn > max(pictures, shown)
        assert page.locator(".overview .small").count() == 1 + len(page_runs.KINDS)
        name = page.locator(".overview h2.sample").inner_text()
        page.get_by_role("button", name="Next photograph").click()
        assert page.locator(".overview h2.sample").inner_text() != name
        page.locator(".overview .small").last.click()
        assert page.locator(".viewer h2.sample").inner_text().startswith("coco/0001.jpg")


def test_names_have_no_hashes(page: Page, usual_page: Path) -> None:
    for view in ("overview", "tables", "plots", "compare", "pictures", "records"):
        page.evaluate(f"location.hash = '#{view}'")
        shown = page.locator(f"#view-{view}")
        shown.wait_for()
        assert "__" not in shown.inner_text()
        assert page_runs.PREPARE not in shown.inner_text()
    page.evaluate("location.hash = '#tables'")
    cell = table(page).locator("tbody th span[title]").first
    assert str(cell.get_attribute("title")).endswith(f"{page_runs.PREPARE}-{page_runs.SCORE}")


def test_differences_with_their_intervals_and_p(page: Page, usual_page: Path) -> None:
    go(page, "Compare")
    select(page, "Compare all with").select_option(label="llamagen-vq16")
    shown = table(page, "Differences from llamagen-vq16")
    rows = {r.locator("th").inner_text(): r.locator("td").all_inner_texts() for r in shown.locator("tbody tr").all()}
    assert set(rows) == {kind.name for kind in page_runs.KINDS} - {"llamagen-vq16"}
    from playwright.sync_api import expect

    from lactok.evaluation.compare import compare, corrected
    from lactok.evaluation.results import load_results

    runs = {r.label: r for r in load_results(usual_page.parent / "runs").recon if r.dataset == "coco"}
    first = runs.pop("llamagen-vq16")
    for made in corrected([compare(first, run) for run in runs.values()]):
        line, texts = made["psnr"], rows[made.second.label]
        low, high = line.difference.ci95 or (0.0, 0.0)
        assert texts[0] == f"{line.second:.3f}"
        assert texts[1] == f"{line.difference.value:+.3f}"
        assert texts[3] == f"{low:+.3f} to {high:+.3f}"
        assert [float(t) for t in texts[4:6]] == pytest.approx([line.difference.p, line.p_corrected], abs=6e-4)
        assert texts[7] == {"first": first.label, "second": made.second.label, "": "–"}[line.better]
    select(page, "Metric").select_option("lpips_alex")
    assert shown.locator("tbody tr").count() == len(page_runs.KINDS) - 2  # titok-b64 has none
    choose(page, "flowers")
    expect(select(page, "Compare all with").locator("option")).to_have_count(3)  # when their file has been loaded


def plot(page: Page) -> Locator:
    return page.locator("svg.plot")


def points(page: Page) -> dict[str, tuple[float, float]]:
    """Where the marks are, in pixels, by the tokenizers' names."""
    marks = plot(page).locator(".point")
    places = marks.evaluate_all("ms => ms.map(m => { const b = m.getBoundingClientRect(); return [b.x, b.y] })")
    labels = [str(m.get_attribute("aria-label")).split(",")[0] for m in marks.all()]
    return dict(zip(labels, map(tuple, places), strict=True))


def test_the_plot_follows_its_axes(page: Page) -> None:
    go(page, "Plots")
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
    go(page, "Plots")
    numbers_of_plot = page.get_by_role("table", name="The plot's numbers")
    chip = page.get_by_role("button", name="titok", exact=True)
    assert "titok-s128" in numbers_of_plot.inner_text()
    chip.press("Enter")
    assert chip.get_attribute("aria-pressed") == "false"
    assert "titok-s128" not in points(page)
    assert set(points(page)) == set(numbers_of_plot.locator("tbody th").all_inner_texts())


def test_a_mark_says_its_values_by_pointer_and_by_keyboard(page: Page) -> None:
    go(page, "Plots")
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
                assert names.count() == plot(page).locator(".point").count() >= 4  # every point has its name
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
