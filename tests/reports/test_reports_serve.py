"""The server of the page: its own files, to this machine, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from reference import ROOT

from reports import __main__ as reports
from reports import serve

pytestmark = pytest.mark.slow  # other processes


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page for a fuzz test, which writes nothing."""
    return built(tmp_path_factory.mktemp("fuzzed")).resolve()


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return built(tmp_path)


def built(tmp_path: Path) -> Path:
    """A built page in a folder, beside which are secrets that links of the page lead to."""
    folder = tmp_path / "build"
    (folder / "pictures").mkdir(parents=True)
    (folder / "inside").mkdir()
    (folder / "index.html").write_text("<p>page")
    (folder / "inside" / "index.html").write_text("<p>inside")
    for name in ("a.js", "a.css", "a.json", "a.svg", "a.webp", "a.pdf", "a.unknown", "pictures/x.png", "a b.txt"):
        (folder / name).write_bytes(b"content")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "build-2").mkdir()
    (tmp_path / "build-2" / "index.html").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path / "build-2")
    (folder / "here.css").symlink_to(folder / "a.css")
    return folder


@pytest.fixture
def port(build: Path) -> Iterator[int]:
    with serve.server(build, 0) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield listening.server_port
        listening.shutdown()
        thread.join()


def ask(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection._encode_request = lambda request: request.encode("latin-1")  # type: ignore[method-assign]
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?x=1#y", "text/html; charset=utf-8"),
        ("/inside/", "text/html; charset=utf-8"),
        ("/a.js", "text/javascript; charset=utf-8"),
        ("/a.css", "text/css; charset=utf-8"),
        ("/here.css", "text/css; charset=utf-8"),
        ("/a.json", "application/json"),
        ("/a.svg", "image/svg+xml"),
        ("/a.webp", "image/webp"),
        ("/a.pdf", "application/pdf"),
        ("/pictures/x.png", "image/png"),
        ("/a%20b.txt", "text/plain; charset=utf-8"),
        ("/a.unknown", "application/octet-stream"),
    ],
)
def test_files_have_their_types(port: int, path: str, kind: str) -> None:
    answer, body = ask(port, path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head, nothing = ask(port, path, "HEAD")
    assert (head.status, nothing) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/pictures/",
        "/pictures",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/inside/../../secret.txt",
        "/..%5csecret.txt",
        "/link.txt",
        "/out/",
        "/out/index.html",
        "//etc/passwd",
        "/index.html/",
        "/%00",
        "/a.css%00.png",
        "/../build-2/index.html",
        "http://127.0.0.1/../secret.txt",
        "/" + "x" * 256,
        "/" + "x" * 256 + "/index.html",
        "/inside/" + "%C3%A9" * 200,
        "/" + "x/" * 5000,
        "/x%00y",
        "/%FF%FE",
        "/%ED%A0%80",
        "/\xff\x80",
        "/%",
        "/%zz",
        "/index.html%20",
        "/a.css/",
        "/a.css/index.html",
        "/inside/index.html/x",
        "/./nothing",
        "*",
    ],
)
def test_what_is_not_the_pages_is_not_found(port: int, path: str) -> None:
    answer, body = ask(port, path)
    assert answer.status == 404
    assert b"secret" not in body
    assert b"x.png" not in body


def test_a_folder_without_a_slash_is_redirected(port: int) -> None:
    answer, _ = ask(port, "/inside?x=1")
    assert (answer.status, answer.headers["Location"]) == (301, "/inside/?x=1")


def test_names_that_are_not_utf_8(port: int, build: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(build) + b"/caf\xe9.txt")).write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes names of UTF-8 alone")
    (build / "caf\u00e9.txt").write_text("other")
    assert ask(port, "/caf%E9.txt")[1] == b"content"
    assert ask(port, "/caf%C3%A9.txt")[1] == b"other"


@pytest.mark.parametrize("ranges", ["bytes=0-1", "bytes=5-1", "bytes=-", "x" * 1000, "bytes=99999999999999999999-"])
def test_a_range_is_answered_with_the_whole_file(port: int, ranges: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/a.css", headers={"Range": ranges, "If-Modified-Since": ranges})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"content")
    connection.close()


def test_a_line_that_is_too_long_is_refused(port: int) -> None:
    assert ask(port, "/" + "x" * 70_000)[0].status == 414


PARTS = ["/", ".", "..", "%2e%2e", "%2f", "%00", "%5c", "?", "#", "index.html", "inside", "a.css", "out", "link.txt"]
PARTS += ["secret.txt", "build-2", "http://x", "//", "[", "%", "\udc80", "\xff", "x" * 300]
ADDRESSES = st.lists(st.sampled_from(PARTS) | st.text(max_size=2), max_size=10).map("".join)


@pytest.mark.fuzz
@tries(300, 20_000)
@given(ADDRESSES)
@example("/" + "x" * 256)
@example("http://[")
@example("/\ud800")
@example("/out/%2e%2e/../index.html")
def test_any_address_is_a_file_of_the_folder_or_nothing(fuzzed: Path, address: str) -> None:
    found = serve.served(address, fuzzed)
    if found is not None:
        assert found.is_file()
        assert found.resolve().is_relative_to(fuzzed)
        assert b"secret" not in found.read_bytes()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(port: int, method: str) -> None:
    answer, _ = ask(port, "/", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:{}", 200), ("localhost:{}", 200), ("localhost", 200), ("evil.example:{}", 403), ("", 403)],
)
def test_a_foreign_name_is_refused(port: int, host: str, status: int) -> None:
    assert ask(port, "/", host=host.format(port))[0].status == status


def test_it_listens_on_the_loopback_address_alone(build: Path) -> None:
    with serve.server(build, 0) as listening:
        assert listening.socket.getsockname()[0] == "127.0.0.1"
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", listening.server_port))


@pytest.mark.slow
def test_ctrl_c_ends_it(build: Path) -> None:
    command = [sys.executable, "-m", "reports", "serve", "--out", str(build), "--port", "0"]
    # what a shell starts in the background inherits that Ctrl-C is ignored; a terminal's command does not
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as started:
        try:
            assert started.stdout is not None
            line = started.stdout.readline()
            assert line.startswith("http://127.0.0.1:")
            assert ask(int(line.split(":")[2].split("/")[0]), "/")[1] == b"<p>page"
            started.send_signal(signal.SIGINT)
            _, error = started.communicate(timeout=60)
        finally:
            started.kill()  # or leaving would wait for it
    assert started.returncode == 0
    assert error == ""


def test_a_mistake_is_one_line(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = str(taken.getsockname()[1])
        for arguments, message in (
            (("--out", str(build), "--port", busy), "choose another, or 0"),
            (("--out", str(tmp_path / "none")), "build the page first: python -m reports build"),
            (("--out", str(build), "--port", "70000"), "between 0 and 65535"),
        ):
            with pytest.raises(SystemExit) as stop:
                reports.main(["serve", *arguments])
            error = capsys.readouterr().err.strip()
            assert stop.value.code == 2
            assert message in error
            assert "\n" not in error
