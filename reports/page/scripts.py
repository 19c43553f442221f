"""Data as scripts: a page that was opened from a file may load those, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lactok.evaluation.store import write_atomically

_NAME = re.compile(r"[a-z0-9-]+")
_OURS = re.compile(r"(summary|(records|samples|geneval)-[0-9a-f]{12})\.js")
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script(name: str, value: Any) -> bytes:
    """A call that hands `value` to the page under `name`.

    Only ASCII, and no character that HTML knows: nothing in the data can end the script or start another.

    >>> script("a", {"b": "</script>"}).decode()
    'lactok.receive("a",{"b":"\\\\u003c/script\\\\u003e"});\\n'
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a data file")
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    return f'lactok.receive("{name}",{text});\n'.encode("ascii")


class Scripts:
    """The data files of a page: `<out>/data/<name>.js`."""

    def __init__(self, out: Path):
        self.folder = out / "data"
        self._written: set[str] = set()

    def write(self, name: str, value: Any) -> None:
        file = f"{name}.js"
        if file not in self._written:
            write_atomically(self.folder / file, script(name, value))
            self._written.add(file)

    def remove_others(self) -> None:
        """Those of an earlier build."""
        for path in self.folder.glob("*.js"):
            if _OURS.fullmatch(path.name) and path.name not in self._written:
                path.unlink()
