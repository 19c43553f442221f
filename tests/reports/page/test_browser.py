"""What watches the page sees what it is there for: otherwise the page's tests would pass whatever it does."""

from __future__ import annotations

from pathlib import Path

import axe
import pytest
from browser import Chromium

pytestmark = pytest.mark.slow  # a browser

POLICY = "default-src 'none'; script-src 'self'; img-src 'self'"


def write(folder: Path, body: str, script: str = "", policy: str = POLICY) -> Path:
    (folder / "a.js").write_text(script)
    (folder / "index.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title><meta http-equiv='
        f'"Content-Security-Policy" content="{policy}"></head><body><main><h1>t</h1>{body}</main>'
        '<script src="a.js"></script></body></html>'
    )
    return folder


@pytest.mark.parametrize(
    ("body", "script", "policy", "said"),
    [
        ("", "console.error('broken')", POLICY, "console error: broken"),
        ("", "setTimeout(() => { throw new Error('late') })", POLICY, "uncaught: late"),
        ("<img src='absent.png' alt=''>", "", POLICY, "cannot load file:"),
        ("<img src='x' onerror='alert(1)' alt=''>", "", POLICY, "violates the following Content Security Policy"),
        ("<img src='x' onerror='alert(1)' alt=''>", "", "", "dialog: 1"),
        ("<img src='../outside.png' alt=''>", "", "", "asks for file:"),
        ("<img src='http://elsewhere.test/a.png' alt=''>", "", "", "asks for http://elsewhere.test/a.png"),
        ("", "navigator.sendBeacon('http://elsewhere.test/b')", "", "elsewhere.test"),
        ("<script src='//elsewhere.test/c.js'></script>", "", "", "elsewhere.test"),
    ],
)
def test_a_fault_is_seen(
    chromium: Chromium,
    tmp_path: Path,
    body: str,
    script: str,
    policy: str,
    said: str,
) -> None:
    with pytest.raises(AssertionError) as seen, chromium.open(write(tmp_path, body, script, policy)) as (page, _):
        page.wait_for_timeout(100)
    chromium.proxy.asked.clear()
    assert said in str(seen.value)


def test_a_quiet_page_has_no_fault_and_inaccessible_ones_are_named(
    chromium: Chromium,
    tmp_path: Path,
) -> None:
    with chromium.open(write(tmp_path, "<p>quiet</p>")) as (page, watched):
        assert axe.violations(page) == []
        assert [r.rpartition("/")[2] for r in watched.requests] == ["index.html", "a.js"]
    with chromium.open(write(tmp_path, "<input><button></button>")) as (page, _):
        assert [v.split(" ")[0] for v in axe.violations(page)] == ["button-name", "label"]
