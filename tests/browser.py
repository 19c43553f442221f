"""A real browser for the reports' page: Debian's chromium, driven by playwright, and everything that it reports.

Where the browser is not there the tests are skipped with the reason; `LACTOK_BROWSER_TESTS=required` makes that a
failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

COMMANDS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--force-color-profile=srgb",
)
NOWHERE = "http://127.0.0.1:9"  # for what the browser asks on its own account
DESKTOP, PHONE = (1280, 800), (360, 740)


def missing(what: str, remedy: str) -> None:
    """Skip the test, or fail where the browser's tests are required."""
    reason = f"{what}: {remedy}"
    if os.environ.get("LACTOK_BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def executable() -> str:
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        missing("no browser", "apt-get install chromium")
    return str(found)


class Proxy:
    """The only way out that a page has: refuses every connection and remembers what was asked for.

    It also sees what the page's own list of requests does not hold: prefetched names, beacons, workers.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._server.close()


@dataclass
class Watched:
    """What a page said and asked for while it was open."""

    root: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("dialog", self._dialog)
        page.on("popup", lambda other: self.faults.append(f"opened a window: {other.url}"))
        page.on("download", lambda download: self.faults.append(f"downloads {download.suggested_filename}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        page.on("websocket", lambda socket: self.faults.append(f"opened a socket: {socket.url}"))
        page.on("worker", lambda worker: self._request(worker.url))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):  # what violates the page's policy is an error as well
            self.faults.append(f"console {message.type}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        self.requests.append(url)
        if not url.startswith((self.root, "data:image/", "blob:")):
            self.faults.append(f"asks for {url}")

    def _failed(self, url: str, reason: str | None) -> None:
        if reason != "net::ERR_ABORTED":  # a picture that was replaced while it was loading
            self.faults.append(f"cannot load {url}: {reason}")


@dataclass
class Chromium:
    """A running browser; `open` gives a page that must end without a fault."""

    browser: Browser
    proxy: Proxy

    @contextmanager
    def open(
        self, folder: Path, size: tuple[int, int] = DESKTOP, dark: bool = False, fragment: str = "", **options: Any
    ) -> Iterator[tuple[Page, Watched]]:
        """`folder`/index.html as a file, in a fresh profile.

        Raises:
            AssertionError: at the end, if anything was logged, thrown or blocked, or asked for outside of `folder`.
        """
        watched = Watched(folder.resolve().as_uri() + "/")
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            proxy={"server": self.proxy.address, "bypass": "<-loopback>"},
            **options,
        )
        context.set_default_timeout(30_000)
        try:
            page = context.new_page()
            watched.attach(page)
            page.goto(f"{watched.root}index.html{fragment}")
            yield page, watched
        finally:
            context.close()
        assert not watched.faults, watched.faults
        assert not self.proxy.asked, self.proxy.asked


@contextmanager
def running() -> Iterator[Chromium]:
    """One browser, without a way out of this machine."""
    command = executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed", "pip install -e .[test]")
    proxy = Proxy()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=command, args=ARGUMENTS, proxy={"server": NOWHERE})
            yield Chromium(browser, proxy)
            browser.close()
    finally:
        proxy.close()


def select(page: Page, name: str) -> Locator:
    """The choice with this label."""
    return page.get_by_role("combobox", name=name, exact=True)


def until(page: Page, condition: str, arg: Any = None) -> None:
    """Wait until JavaScript is true; playwright's own way polls by `eval`, which the page's policy forbids.

    Raises:
        AssertionError: it is not true within half a minute.
    """
    for _ in range(300):
        if page.evaluate(condition, arg):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {condition}")


def go(page: Page, view: str) -> None:
    """Follow the link to a view, and wait until it is shown: the page learns of its new address a moment later."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view, exact=True).click()
    page.locator("nav a[aria-current=page]", has_text=view).wait_for()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser for a file of tests: half a second; not longer, as no other event loop runs in its thread meanwhile."""
    with running() as browser:
        yield browser
