"""`python -m reports serve` serves the built page to a browser on this machine alone."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lactok.errors import UserError, integer, whole
from lactok.files import is_file
from lactok.outside_text import shown

ADDRESS = "127.0.0.1"
PORT = 8000
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    "": "application/octet-stream",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve` to a parser."""
    parser.add_argument(
        "--out", type=Path, default=Path("reports/build"), metavar="DIR", help="the built page (default: %(default)s)"
    )
    parser.add_argument("--port", type=integer, default=PORT, help="0: any free one (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C and return 0."""
    with server(args.out, args.port) as listening:
        print(f"http://{ADDRESS}:{listening.server_port}/ shows {args.out}; Ctrl-C ends it", flush=True)
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            print("\nended")
    return 0


def server(root: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the files in `root` that listens on the loopback address; port 0 is any free one.

    Raises:
        UserError: `root` holds no page, or the port is in use or not allowed.
    """
    if not is_file(root / "index.html"):
        raise UserError(f"--out {shown(root, 200)} holds no index.html; build the page first: python -m reports build")
    whole("port", port, 0, 65535)
    try:
        return Server((ADDRESS, port), partial(Handler, directory=str(root.resolve())))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UserError(f"--port {port}: {error.strerror}; choose another, or 0 for any free one") from error


def served(address: str, root: Path) -> Path | None:
    """Return the file in a folder that an address of a request names, a folder standing for its index.html.

    Args:
        address: as the request has it: a path, percent-encoded, perhaps with a host before and a query after it.
        root: the folder, resolved.

    Returns:
        None for everything else, whatever it is: a name that is too long, odd bytes, a way out of the folder.
    """
    try:
        requested = unquote(urlsplit(address).path, errors="surrogateescape")
        if "\0" in requested or "\\" in requested or ".." in requested.split("/"):
            return None
        path = root / "/".join(part for part in requested.split("/") if part not in ("", "."))
        if requested.endswith("/") and not path.is_dir():
            return None
        file = path / "index.html" if path.is_dir() else path
        return file if file.is_file() and file.resolve().is_relative_to(root) else None
    except (OSError, ValueError):  # ValueError: an address that is none, a name with bytes that are no text
        return None


class Server(ThreadingHTTPServer):
    """A server that says nothing of browsers which go away in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, unless the connection broke."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD for the files in a folder and refuses everything else."""

    extensions_map = TYPES  # the operating system's table differs between machines
    directory: str

    def send_head(self) -> Any:
        """Send the headers and return the file, as the base class does; a folder stands for its index.html."""
        header = self.headers.get("Host", "")
        host = header.rpartition(":")[0] or header  # without the port
        if host not in (ADDRESS, "localhost"):  # a foreign page whose host name was pointed at this machine
            return self._refuse(HTTPStatus.FORBIDDEN)
        if served(self.path, Path(self.directory)) is None:
            return self._refuse(HTTPStatus.NOT_FOUND)
        return super().send_head()

    def translate_path(self, path: str) -> str:
        """Return the file that an address names; a folder without a slash at its end stays one and is redirected."""
        file = served(path, Path(self.directory))
        if file is None:  # it went away since
            return ""
        is_folder = file.name == "index.html" and not urlsplit(path).path.endswith(("/", "index.html"))
        return str(file.parent if is_folder else file)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer with an error; returns None, which tells the base class that there is no file to send."""
        self.send_error(status)

    def end_headers(self) -> None:
        """End the headers with two that all answers have."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")  # so that a reload shows a page that was built again
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> Any:
        """Refuse to list a folder."""
        return self._refuse(HTTPStatus.NOT_FOUND)

    def not_allowed(self) -> None:
        """Answer every method but GET and HEAD with 405."""
        self.send_response(HTTPStatus.METHOD_NOT_ALLOWED)
        self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = not_allowed

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing about requests."""
