"""The page's picture viewer, records and GenEval gallery in a browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import PHONE, Chromium, go, select, until
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow  # a browser


@pytest.fixture
def page(chromium: Chromium, usual_page: Path) -> Iterator[Page]:
    with chromium.open(usual_page, fragment="#pictures") as (page, _):
        select(page, "Data set").select_option(label="coco, 64 px")
        yield page


def frames(page: Page) -> Locator:
    return page.locator(".frames figure")


def view(page: Page) -> list[tuple[float, float, float]]:
    """Of every picture in view: its width in widths of its stage, and its corner from the stage's, in pixels."""
    places = page.locator(".frames .stage").evaluate_all(
        """stages => stages.flatMap(s => [...s.querySelectorAll('img')].map(i => {
          const a = s.getBoundingClientRect(), b = i.getBoundingClientRect();
          return [b.width / a.width, b.x - a.x, b.y - a.y].map(v => Math.round(v * 100) / 100);
        }))"""
    )
    return [tuple(p) for p in places]


def sample(page: Page) -> str:
    return page.locator("h2.sample").inner_text()


def zoomed(page: Page, by: float, tolerance: float = 0.01) -> bool:
    """Whether all panes show the same part of their pictures, this much enlarged."""
    seen = view(page)
    return (
        len(seen) > 1
        and all(p == pytest.approx(seen[0], abs=0.1) for p in seen)
        and (seen[0][0] == pytest.approx(by, rel=tolerance))
    )


def middle(of: Locator) -> tuple[float, float]:
    of.scroll_into_view_if_needed()
    box = of.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_photograph_and_all_its_reconstructions(page: Page) -> None:
    assert frames(page).count() == 9
    assert "photograph" in frames(page).first.inner_text()
    assert re.search(r"PSNR \d+\.\d+ · SSIM 0\.\d+ · LPIPS", frames(page).nth(2).inner_text())
    assert page.locator(".frames img").evaluate_all("imgs => imgs.every(i => i.complete && i.naturalWidth === 64)")


def test_zoom_by_buttons_and_keys_is_the_same_in_all_panes(page: Page) -> None:
    assert zoomed(page, 1)
    page.get_by_role("button", name="Zoom in").click()
    assert zoomed(page, 1.5)
    page.locator(".viewer").press("+")
    assert zoomed(page, 2.25)
    page.locator(".viewer").press("-")
    page.get_by_role("button", name="Zoom out").click()
    assert zoomed(page, 1)
    page.locator(".viewer").press("+")
    page.locator(".viewer").press("0")
    assert zoomed(page, 1)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Reset").click()
    assert zoomed(page, 1)


def test_zoom_by_wheel_keeps_the_point_under_the_pointer(page: Page) -> None:
    stage = page.locator(".frames .stage").nth(2)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    x, y = round(box["x"]) + 5, round(box["y"]) + 5  # whole pixels, as the page is told
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    until(page, "document.querySelector('.frames').classList.contains('zoomed')")
    assert zoomed(page, 2.72)
    corner = view(page)[0][1:]
    assert corner == pytest.approx(((box["x"] - x) * 1.72, (box["y"] - y) * 1.72), abs=1)
    page.mouse.wheel(0, 2000)
    until(page, "!document.querySelector('.frames').classList.contains('zoomed')")
    assert zoomed(page, 1)


def test_a_drag_moves_all_panes_and_not_beyond_the_edge(page: Page) -> None:
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    (_, before_x, before_y) = view(page)[0]
    x, y = middle(page.locator(".frames .stage").nth(1))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y - 10, steps=3)
    page.mouse.up()
    assert zoomed(page, 2.25)
    assert view(page)[0][1:] == pytest.approx((before_x + 20, before_y - 10), abs=1)
    page.mouse.down()
    page.mouse.move(x + 2000, y + 2000, steps=3)
    page.mouse.up()
    assert view(page)[0][1:] == (0, 0)
    page.locator(".viewer").press("Shift+ArrowRight")
    assert view(page)[0][1] < 0


def test_a_drag_leaves_the_choice_of_the_tokenizer(page: Page) -> None:
    page.get_by_role("button", name="Zoom in").click()
    chosen = select(page, "Tokenizer").input_value()
    x, y = middle(page.locator(".frames .stage").nth(5))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 15, y + 15, steps=3)
    page.mouse.up()
    assert select(page, "Tokenizer").input_value() == chosen
    page.mouse.click(x, y)
    assert select(page, "Tokenizer").input_value() != chosen


def wiped(page: Page) -> float:
    """Where the line of the wipe is, in percent of the stage."""
    return float(
        page.locator(".wipe-line").evaluate(
            """l => { const b = l.getBoundingClientRect(), s = l.closest('.stage').getBoundingClientRect();
            return 100 * (b.x + b.width / 2 - s.x) / s.width }"""
        )
    )


def test_the_wipe_by_mouse(page: Page) -> None:
    page.get_by_role("button", name="Wipe").click()
    assert wiped(page) == pytest.approx(50, abs=1)
    name = select(page, "Tokenizer").locator("option:checked").inner_text()
    assert page.locator(".frames .side").all_inner_texts() == ["photograph", name]
    stage = page.locator(".frames .stage").bounding_box()
    assert stage is not None
    x, y = middle(page.locator(".wipe-line"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.25, y, steps=3)
    page.mouse.up()
    assert wiped(page) == pytest.approx(25, abs=1.5)
    assert zoomed(page, 1)
    page.get_by_role("button", name="Next sample").click()
    assert wiped(page) == pytest.approx(25, abs=1.5)


def test_the_wipe_by_keyboard(page: Page) -> None:
    page.locator(".viewer").press("w")
    slider = page.get_by_role("slider", name="Wipe")
    slider.focus()
    before = sample(page)
    for _ in range(5):
        slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "55 % photograph"
    assert wiped(page) == pytest.approx(55, abs=1)
    slider.press("Home")
    assert wiped(page) == pytest.approx(0, abs=1)
    assert sample(page) == before
    page.locator(".viewer").press("w")
    assert page.locator(".wipe-line").count() == 0


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_pictures_and_the_whole_wipe_are_within_the_first_screen(
    chromium: Chromium, usual_page: Path, size: tuple[int, int]
) -> None:
    with chromium.open(usual_page, size=size, fragment="#pictures") as (page, _):
        first = frames(page).first.locator(".stage").bounding_box()
        assert first is not None
        assert first["y"] + first["height"] < size[1]
        page.get_by_role("button", name="Wipe").click()
        whole = frames(page).first.locator(".stage").bounding_box()
        assert whole is not None
        assert whole["y"] + whole["height"] <= size[1]


def test_a_picture_says_by_what_it_is_the_best(page: Page) -> None:
    tags = set(page.locator(".frames .tag").all_inner_texts())
    page.get_by_role("button", name="Next sample").click()
    tags |= set(page.locator(".frames .tag").all_inner_texts())
    assert tags <= {"best 3 by LPIPS alex", "worst 3 by LPIPS alex", "best 3 by PSNR", "worst 3 by PSNR"}
    assert len(tags) >= 2


def colours(of: Locator) -> np.ndarray:
    """What is painted inside of it, (height, width, 3), without the rounded corners and the wipe's handle."""
    shown = np.asarray(Image.open(io.BytesIO(of.screenshot())).convert("RGB")).astype(int)
    height, width, _ = shown.shape
    return shown[height // 8 : height // 3, width // 8 : -width // 8]


def test_the_wipe_paints_the_photograph_left_of_its_line(page: Page) -> None:
    page.locator(".viewer").press("w")
    stage = page.locator(".frames .stage")
    for value, shown in (("0", "over"), ("100", "plain")):
        page.get_by_role("slider", name="Wipe").fill(value)
        both = colours(stage)
        stage.locator(f".layer.{'plain' if shown == 'over' else 'over'}").evaluate("l => { l.style.opacity = 0 }")
        assert (colours(stage) == both).all()
        stage.locator(".layer").evaluate_all("ls => ls.forEach(l => { l.style.opacity = '' })")


def test_the_error_map_is_black_where_nothing_differs(page: Page) -> None:
    page.get_by_role("button", name="Error map").click()
    stages = page.locator(".frames .stage.error")
    assert stages.count() == 8
    labels = frames(page).locator("strong").all_inner_texts()[1:]
    assert colours(stages.nth(labels.index("identity"))).max() <= 4  # the scaler's last bit, four times as bright
    error = {name: colours(stages.nth(i)).mean() for i, name in enumerate(labels)}
    assert 1 < error["lactok-h"] < error["titok-s128"] < error["flextok-d18-d28@tokens=32"]
    slider = page.get_by_role("slider", name="Brightness")
    slider.fill("12")
    assert colours(stages.nth(labels.index("lactok-h"))).mean() > error["lactok-h"]
    page.locator(".viewer").press("e")
    assert page.locator(".stage.error").count() == 0


def test_samples_by_buttons_keys_and_the_strip(page: Page) -> None:
    first = sample(page)
    page.get_by_role("button", name="Next sample").click()
    second = sample(page)
    page.locator(".viewer").press("ArrowLeft")
    assert sample(page) == first != second
    page.locator(".viewer").press("ArrowLeft")
    assert "(5 of 5)" in sample(page)
    page.get_by_role("group", name="Samples").get_by_role("button").nth(1).click()
    assert sample(page) == second
    chosen = select(page, "Tokenizer").input_value()
    page.locator(".viewer").press("ArrowDown")
    assert select(page, "Tokenizer").input_value() != chosen
    assert sample(page) == second


def test_worst_and_best_first(page: Page) -> None:
    select(page, "Tokenizer").select_option(label="titok-s128")
    found: dict[str, list[float]] = {}
    for order in ("worst PSNR first", "best PSNR first"):
        select(page, "Samples").select_option(label=order)
        found[order] = []
        for _ in range(5):
            text = page.locator("figure.current .scores").inner_text()
            found[order].append(float(re.findall(r"PSNR (\S+)", text)[0]))
            page.locator(".viewer").press("ArrowRight")
    assert found["worst PSNR first"] == sorted(found["worst PSNR first"])
    assert found["best PSNR first"] == found["worst PSNR first"][::-1]
    assert len(set(found["best PSNR first"])) > 1


def test_pinching_zooms(chromium: Chromium, usual_page: Path) -> None:
    with chromium.open(usual_page, size=PHONE, fragment="#pictures", has_touch=True) as (page, _):
        x, y = middle(page.locator(".frames .stage").first)
        touch = page.context.new_cdp_session(page)

        def fingers(kind: str, apart: float) -> None:
            points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if kind != "touchEnd" else []})

        fingers("touchStart", 20)
        for apart in (30, 40, 50, 60):
            fingers("touchMove", apart)
        fingers("touchEnd", 60)
        assert zoomed(page, 3, tolerance=0.05)


def test_a_record_leads_to_its_picture(page: Page) -> None:
    from playwright.sync_api import expect

    go(page, "Records")
    select(page, "Run").select_option(label="titok-b64")
    table = page.get_by_role("table", name="Records of titok-b64")
    expect(table.locator("tbody tr")).to_have_count(12)
    table.get_by_role("button", name="PSNR").click()
    values = [float(t) for t in table.locator("tbody tr td.number:nth-of-type(3)").all_inner_texts()]
    assert len(values) == 12
    assert values in (sorted(values), sorted(values, reverse=True))
    page.get_by_label("Sample or caption").fill("photograph 4")
    expect(table.locator("tbody tr")).to_have_count(1)
    table.get_by_role("link").click()
    expect(page.locator("h2.sample")).to_contain_text("coco/0004.jpg")
    expect(select(page, "Tokenizer").locator("option:checked")).to_have_text("titok-b64")
    page.go_back()
    expect(table).to_be_visible()


def test_geneval_filters(page: Page) -> None:
    go(page, "GenEval")
    cards = page.locator("article.card")
    cards.nth(17).wait_for()
    assert cards.count() == 18
    select(page, "Verdict").select_option("wrong")
    assert cards.count() == 9
    assert set(cards.locator(".verdict").all_inner_texts()) == {"wrong"}
    select(page, "Task").select_option("counting")
    assert 0 < cards.count() < 9
    assert all("counting" in t for t in cards.all_inner_texts())
    select(page, "Task").select_option("")
    page.get_by_role("searchbox", name="Prompt").fill("photo of 7")
    assert cards.count() == 1
    cards.get_by_role("button").press("Enter")
    dialog = page.get_by_role("dialog")
    assert "expected kite>=1, found 0" in dialog.inner_text()
    assert "kite" in dialog.get_by_role("table").inner_text()
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert cards.get_by_role("button").evaluate("b => b === document.activeElement")
