"""Text from outside cannot run in the page: names, captions, prompts, reasons and file names are shown as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import page_runs
import pytest
from browser import DESKTOP, PHONE, Chromium, select
from test_page_access import VIEWS, go

from reports.page import build

pytestmark = pytest.mark.slow  # a browser

RUN = "globalThis.ran=1;alert(1)"
TEXTS = {
    "element": f"<img src=x onerror={RUN}><svg onload={RUN}>",
    "end of the script": f"</script></title></textarea><script>{RUN}</script><!--",
    "attribute": f"\" autofocus onfocus={RUN} tabindex=1 x=\"' onfocus={RUN} x='",
    "address": f"javascript:{RUN}//",
    "string": f"\\\");{RUN}//'+{RUN}+'`${{{RUN}}}`\\u0022",
    "lines and marks": f"\u2028{RUN}\u2029\n{RUN}\r\u202e{RUN}\u2066\u0000\x1b[31m\ufffe\U0001f600",
    "key of an object": "__proto__",
    "method of an object": "constructor",
    "very long": "w" * 20_000,
    "style": "</style><style>*{display:none}@import 'http://elsewhere.test';</style>&lt;b&#60;{{7*7}}",
}


def spoken(text: str) -> str:
    """As it comes back out of a page: white space and what is not text made plain."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_text_is_only_text(chromium: Chromium, tmp_path: Path, kind: str) -> None:
    text = TEXTS[kind]

    def hostile(words: str) -> str:
        return text if text in ("__proto__", "constructor") else f"{text} {words}"

    site = page_runs.built(tmp_path, lambda runs: page_runs.write_hostile(runs, hostile, file_name(text)))
    with chromium.open(site) as (page, watched):
        for view in VIEWS:
            go(page, view)
            controls = page.locator(f"#view-{view} :is(th button, summary)")
            controls.evaluate_all("found => found.forEach(f => f.click())")
            shown = spoken(page.locator(f"#view-{view}").evaluate("v => v.textContent"))
            if view == "compare" and not page.locator("#view-compare table").count():
                assert kind in ("key of an object", "method of an object")  # all images have one name: no pairs
                continue
            assert spoken(text)[:5000] in shown, view
        page.locator("article.card button").first.click()
        assert spoken(text)[:5000] in spoken(page.get_by_role("dialog").evaluate("d => d.textContent"))
        page.keyboard.press("Escape")
        go(page, "plots")
        page.locator(".point").first.focus()
        go(page, "pictures")
        for mode in ("Wipe", "Error map"):
            page.get_by_role("button", name=mode).click()
            assert page.locator(".frames img").evaluate_all("imgs => imgs.every(i => i.complete && i.naturalWidth > 0)")
        assert page.locator(".frames img").count() > 1
        page.get_by_role("button", name="Next sample").click()
        page.wait_for_timeout(50)
        assert page.evaluate("globalThis.ran === undefined && ({}).ran === undefined")
        assert inserted(page.evaluate("document.documentElement.outerHTML")) == set()
        for request in watched.requests:
            assert request.removeprefix(watched.root).replace("/", "").replace("-", "").replace(".", "").isalnum()


def file_name(text: str) -> Callable[[str], str]:
    """A picture's name as hostile as an index may have it: other names are refused."""
    safe = "".join(c for c in text if c.isprintable() and c not in "/\\")[:40]
    return lambda name: f"{safe}#?%23&{name}"


def inserted(html: str) -> set[str]:
    """Elements and attributes of the whole document that this page has no use for."""
    found: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag in ("iframe", "object", "embed", "style", "base", "form", "textarea"):
                found.add(tag)
            for name, value in attributes:
                if name.startswith("on") or name == "srcdoc" or (value or "").strip().lower().startswith("javascript:"):
                    if name in ("aria-label", "title", "alt", "value"):
                        continue  # text to read
                    found.add(f"{tag} {name}")
            source = str(dict(attributes).get("src", ""))
            if tag == "script" and not source.startswith(("scripts/", "vendor/", "data/")):
                found.add("script")

    Parser().feed(html)
    return found


def test_a_very_long_name_fits_a_phone(chromium: Chromium, tmp_path: Path) -> None:
    name = "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww" * 4
    site = page_runs.built(tmp_path, lambda runs: page_runs.write_hostile(runs, lambda w: name + w, file_name("a")))
    for size in (PHONE, DESKTOP):
        with chromium.open(site, size=size) as (page, _):
            for view in VIEWS:
                go(page, view)
                assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, view


def test_an_address_from_outside_shows_a_view_and_nothing_else(chromium: Chromium, usual_page: Path) -> None:
    fragments = (
        "__proto__",
        "constructor",
        "toString",
        "<img src=x onerror=alert(1)>",
        "pictures?row=__proto__&sample=x",
        "pictures?row=nobody&sample=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "records?run=../../../etc/passwd",
        "%",
    )
    with chromium.open(usual_page, fragment="#__proto__") as (page, _):
        for fragment in fragments:
            page.evaluate("f => { location.hash = f }", fragment)
            page.locator("main h1:visible").wait_for()
        page.reload()
        page.locator("main h1:visible").wait_for()


def test_the_policy_forbids_scripts_of_the_page_itself_and_every_connection(
    chromium: Chromium, usual_page: Path
) -> None:
    with chromium.open(usual_page) as (page, watched):
        page.locator("tbody tr").first.wait_for()
        blocked = page.evaluate(
            """async () => {
              const out = [];
              addEventListener('securitypolicyviolation', (e) => out.push(e.effectiveDirective));
              try { document.body.innerHTML += '<b>x</b>'; } catch { out.push('innerHTML refused'); }
              const image = new Image();
              image.src = 'http://elsewhere.test/a.png';
              await fetch('http://elsewhere.test/').catch(() => {});
              const button = document.createElement('button');
              try { button.setAttribute('onclick', 'globalThis.ran = 1'); } catch { out.push('onclick refused'); }
              button.click();
              await new Promise((done) => setTimeout(done, 50));
              return [...new Set(out)].sort();
            }"""
        )
        assert page.evaluate("globalThis.ran === undefined")
        watched.faults.clear()  # these were meant
    assert {"connect-src", "img-src", "innerHTML refused", "onclick refused"} <= set(blocked)
    chromium.proxy.asked.clear()


def test_a_link_out_of_the_folder_of_runs_is_not_followed(chromium: Chromium, tmp_path: Path) -> None:
    """A file's name in an index is a name, not a path."""
    runs = tmp_path / "runs"
    page_runs.write_usual(runs, samples=3, pictures=1)
    page_runs.picture(99).save(tmp_path / "secret.png")
    row = next(runs.glob("titok-s128__coco*"))
    index = json.loads((row / "images" / "index.json").read_text())
    index["pictures"][0]["file"] = "../../../secret.png"
    index["references"] = "../.."
    (row / "images" / "index.json").write_text(json.dumps(index))
    build(runs, tmp_path / "page")
    secret = (tmp_path / "secret.png").read_bytes()
    assert not [p for p in (tmp_path / "page").rglob("*.png") if p.read_bytes() == secret]
    with chromium.open(tmp_path / "page", fragment="#pictures") as (page, _):
        assert select(page, "Tokenizer").locator("option").count() > 1
