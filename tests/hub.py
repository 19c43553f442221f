"""A stand-in of a Hugging Face hub: its addresses, headers and refusals, and connections that break when told to.

Files lie at /{repo}/resolve/{revision}/{file}, those of data sets at /datasets/{repo}/..., and /api/models/{repo} tells
what a repository holds. At /files/{name} they lie without a hub's headers, as other hosts give them. A file may be
answered with a redirect to another host, as large files are, may need a token, and may end too early. Everything that
was asked is kept in `asked`.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from reference import ROOT
from werkzeug import Request, Response

from lactok.specs import Asset

COMMIT = "1" * 40
TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"


@dataclass(frozen=True)
class Cut:
    """A body that ends after so many bytes: the connection closes or, with `hold`, stays silent until the hub ends."""

    after: int
    hold: bool = False


@dataclass(frozen=True)
class Asked:
    """A request and its answer; `start` is the first byte of a Range."""

    method: str
    path: str
    start: int | None
    token: str | None
    status: int


@dataclass(frozen=True)
class Stored:
    content: bytes
    sha256: str
    cdn: bool
    token: str | None


class LocalHub:
    """Attributes:
    asked: every request so far.
    script: what happens to the next GETs of files: Cuts in order, a status again and again.
    status: where set, the answer to every request.
    """

    def __init__(self, server: HTTPServer):
        self.server = server
        self.files: dict[str, Stored] = {}
        self.asked: list[Asked] = []
        self.script: list[Cut | int] = []
        self.status: int | None = None
        self.silent = threading.Event()  # a held body has sent its last byte
        self.ended = threading.Event()
        server.expect_request(re.compile(".*")).respond_with_handler(self._logged)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def add(self, name: str, content: bytes, *, cdn: bool = False, token: str | None = None) -> str:
        """Serve `content` as `name` = "owner/repository/file"; returns its sha256.

        Args:
            cdn: answer with a redirect to another host, as for large files.
            token: the repository is gated; only this one is let in.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        self.files[name] = Stored(content, sha256, cdn, token)
        return sha256

    def starts(self) -> list[int | None]:
        """The first byte that each GET of a file's content asked for; None where it asked for all."""
        return [a.start for a in self.asked if a.method == "GET" and a.status in (200, 206)]

    def _logged(self, request: Request) -> Response:
        response = self._answer(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first = int(start[1]) if start else None
        self.asked.append(Asked(request.method, request.path, first, token, response.status_code))
        return response

    def _answer(self, request: Request) -> Response:
        if self.status is not None:
            return Response(status=self.status)
        if request.path.startswith("/cdn/"):
            stored = next(s for s in self.files.values() if s.sha256 == request.path.removeprefix("/cdn/"))
            return self._body(request, stored)
        if request.path.startswith("/files/"):
            plain = self.files.get(request.path.removeprefix("/files/"))
            return Response(status=404) if plain is None else self._body(request, plain)
        if asked := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|(tree))/[^/]+)?", request.path):
            return self._listing(asked[1], tree=asked[2] is not None)
        if asked := re.fullmatch(r"/api/(datasets/[^/]+/[^/]+)", request.path):
            return self._listing(asked[1], tree=False)
        match = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        if match is None or not any(name.startswith(f"{match[1]}/") for name in self.files):
            return _refusal(401, "RepoNotFound")
        if match[2] not in ("main", COMMIT):
            return _refusal(404, "RevisionNotFound")
        found = self.files.get(f"{match[1]}/{match[3]}")
        if found is None:
            return _refusal(404, "EntryNotFound")
        sent = request.headers.get("Authorization")
        if found.token is not None and sent != f"Bearer {found.token}":
            return _refusal(401, "GatedRepo") if sent is None else _refusal(401, "", "Invalid credentials")
        if not found.cdn:
            return self._body(request, found, {"X-Repo-Commit": COMMIT})
        headers = {
            "Location": f"http://localhost:{self.server.port}/cdn/{found.sha256}",
            "X-Linked-Etag": f'"{found.sha256}"',
            "X-Linked-Size": str(len(found.content)),
            "X-Repo-Commit": COMMIT,
        }
        return Response(status=302, headers=headers)

    def _listing(self, repo: str, tree: bool) -> Response:
        """What a repository holds: of its newest commit, or as a tree of files with sizes."""
        files = {name.removeprefix(f"{repo}/"): f for name, f in self.files.items() if name.startswith(f"{repo}/")}
        if not files:
            return _refusal(401, "RepoNotFound")
        content: object = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        if tree:
            content = [
                {"type": "file", "path": name, "size": len(stored.content), "oid": stored.sha256[:40]}
                for name, stored in files.items()
            ]
        return Response(json.dumps(content), content_type="application/json")

    def _body(self, request: Request, stored: Stored, headers: dict[str, str] | None = None) -> Response:
        fault = self.script[0] if request.method == "GET" and self.script else None
        if isinstance(fault, int):
            return Response(status=fault)
        if fault is not None:
            self.script.pop(0)
        start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first, total = int(start[1]) if start else 0, len(stored.content)
        if start and first >= total:
            return Response(status=416)
        content = b"" if request.method == "HEAD" else stored.content[first:]
        body = content if fault is None else self._cut(content, fault)
        response = Response(body, 206 if start else 200)
        response.headers["Content-Length"] = str(total - first)
        response.headers |= {"ETag": f'"{stored.sha256}"', "Accept-Ranges": "bytes", **(headers or {})}
        if start:
            response.headers["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
        return response

    def _cut(self, content: bytes, cut: Cut) -> Iterator[bytes]:
        yield content[: cut.after]
        if cut.hold:
            self.silent.set()
            self.ended.wait(60)


def _refusal(status: int, code: str, message: str = "as the tests want it") -> Response:
    return Response(status=status, headers={"X-Error-Code": code, "X-Error-Message": message})


def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, endpoint: str, **more: str) -> dict[str, str]:
    """A user's environment with a hub at `endpoint`, caches in `folder` and no other host within reach."""
    nobody = f"http://127.0.0.1:{closed_port()}"
    dropped = ("HF_", "HUGGING_FACE_", "LACTOK_", "PIP_", "UV_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(dropped) and not k.lower().endswith("_proxy")}
    return inherited | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "LACTOK_CACHE": str(folder / "cache"),
        "LACTOK_INDEX_URL": f"{nobody}/simple/",
        "HTTP_PROXY": nobody,
        "HTTPS_PROXY": nobody,
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        **more,
    }


FETCH = """
import pickle, sys
from lactok import weights
from lactok.command import command

def main(argv):
    for asset in pickle.loads(bytes.fromhex(sys.argv[1])):
        print(weights.resolve(asset).path)
    return 0

command(main)()
"""


@dataclass
class User:
    """Somebody at a shell: commands run in processes of their own, with caches in `folder`."""

    folder: Path
    endpoint: str
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def start(self, *command: str) -> subprocess.Popen[str]:
        env = environment(self.folder, self.endpoint, **self.settings)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT)

    def run(self, *command: str, code: int = 0) -> tuple[str, str]:
        """Standard output and standard error."""
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def fetch(self, *assets: Asset, code: int = 0) -> tuple[str, str]:
        return self.run(*fetching(*assets), code=code)

    def refused(self, *assets: Asset) -> str:
        """The one line with which fetching ends; nothing is left in the cache but locks."""
        out, err = self.fetch(*assets, code=2)
        assert out == ""
        line = err.splitlines()[-1]
        assert line.startswith("error: ")
        assert err.count("error: ") == 1
        assert [p for p in self.cache.rglob("*") if p.suffix != ".lock"] == []
        return line


def fetching(*assets: Asset) -> tuple[str, ...]:
    return sys.executable, "-c", FETCH, pickle.dumps(assets).hex()


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    server = HTTPServer(host="127.0.0.1", port=0, threaded=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def local(server: HTTPServer) -> Iterator[LocalHub]:
    server.clear()
    hub = LocalHub(server)
    yield hub
    hub.ended.set()


@pytest.fixture
def here(local: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalHub:
    """The hub as this process's own, with pieces of 1 kB."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", local.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", local.url + TEMPLATE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", os.devnull)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return local
