"""The pairs of a shard that is not finished: a picture and a file of what is known about it each, in `OUT/.work`.

Every file is written whole or not at all, so that a killed run loses the batch that it was computing, and no more.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lactok.data.stages import Pair
from lactok.files import is_file, write_atomically
from lactok.images import open_photograph

FOLDER = ".work"  # hidden, so that no reader of data sets takes it for data


@dataclass
class State:
    """What is known about a pair so far.

    Attributes:
        prompt: what the picture was made of, or a real photograph's own caption.
        picture: the name of the picture's file; "" if there is none, see `fault`.
        name: a real photograph's name in its folder; "" for a generated picture.
        seed: of the pair.
        fault: why there is no picture.
        facts: what the source of pictures said about the picture.
        caption: the caption; None until a captioner has written it.
        scores: name of a filter -> score and what is wrong with the pair.
    """

    prompt: str
    picture: str
    seed: int
    name: str = ""
    fault: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    caption: str | None = None
    scores: dict[str, tuple[float, str]] = field(default_factory=dict)


def unfinished(out: Path) -> list[str]:
    """Return the names of the shards of which there are unfinished pairs."""
    return sorted(path.name for path in (out / FOLDER).glob("*"))


class Work:
    """The unfinished pairs of a shard.

    Args:
        out: the folder of the shards.
        shard: the shard's name.
    """

    def __init__(self, out: Path, shard: str):
        self.folder = out / FOLDER / shard

    def state(self, key: str) -> State | None:
        """Return what is known about a pair, None if nothing is."""
        path = self.folder / f"{key}.json"
        return State(**json.loads(path.read_text("utf-8"))) if is_file(path) else None

    def save(self, key: str, state: State) -> None:
        """Write what is known about a pair."""
        write_atomically(self.folder / f"{key}.json", json.dumps(asdict(state), ensure_ascii=False).encode())

    def save_picture(self, key: str, ending: str, data: bytes) -> str:
        """Write a picture's bytes and return the name of the file."""
        write_atomically(self.folder / f"{key}{ending}", data)
        return f"{key}{ending}"

    def picture(self, state: State) -> bytes:
        """Return the bytes of a pair's picture."""
        return (self.folder / state.picture).read_bytes()

    def pair(self, key: str, state: State) -> Pair:
        """Return a pair with its picture as RGB, as captioners and filters get it."""
        image = open_photograph(self.folder / state.picture)
        caption = state.prompt if state.caption is None else state.caption
        return Pair(key, state.prompt, caption, image, state.seed, state.facts)

    def remove(self) -> None:
        """Remove the files of the shard, and the folder of all unfinished shards when the last one is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            self.folder.parent.rmdir()
