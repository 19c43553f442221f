"""Data files of the page as scripts, because a page that was opened from a file may load nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lactok.files import write_atomically

_NAME = re.compile(r"[a-z0-9-]+")
_OURS = re.compile(r"(summary|(records|samples|geneval|compare)-[0-9a-f]{12})\.js")
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script(name: str, value: Any) -> bytes:
    """Return a script that hands `value` to the page under `name`.

    It is ASCII without any character that HTML knows, so that nothing in the data can end the script or start another.

    Raises:
        ValueError: `name` has other characters than a-z, 0-9 and -.

    >>> script("a", {"b": "</script>"}).decode()
    'lactok.receive("a",{"b":"\\\\u003c/script\\\\u003e"});\\n'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a data file")
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    return f'lactok.receive("{name}",{text});\n'.encode("ascii")


class Scripts:
    """Writes the data files of a page, `<out>/data/<name>.js`."""

    def __init__(self, out: Path):
        self.folder = out / "data"
        self._written: set[str] = set()

    def write(self, name: str, value: Any) -> None:
        """Write a data file, unless this build has written one of that name."""
        file = f"{name}.js"
        if file not in self._written:
            write_atomically(self.folder / file, script(name, value))
            self._written.add(file)

    def remove_others(self) -> None:
        """Remove the data files of an earlier build that this one has not written."""
        for path in self.folder.glob("*.js"):
            if _OURS.fullmatch(path.name) and path.name not in self._written:
                path.unlink()
