"""`python -m benchmarks.speed.shard_index` measures what the index of a training's webdataset shards takes.

The shards are empty files, and what their headers would say is made up, so that a million images need no disk: what is
measured is the list that the training keeps, not the reading of headers.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from lactok.command import Parser, command
from lactok.errors import integer, whole

A_SHARD = 10_000  # images in a shard


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(prog="python -m benchmarks.speed.shard_index", description="Memory and time of an index of shards.")
    p.add_argument("--images", type=integer, default=1_000_000, help="made-up images (default: %(default)s)")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print seconds, and the bytes an image that the list holds and that finding it takes at most."""
    args = parser().parse_args(argv)
    count = args.images
    whole("images", count, 1000, 10**9)
    from lactok.training import shards
    from lactok.training.data import Photos

    def made_up(path: Path) -> shards.Index:
        first = int(path.stem.partition("-")[2]) * A_SHARD
        numbers = range(first, min(first + A_SHARD, count))
        members = [shards.Member(f"{i:09}.jpg", 512 + 300_000 * (i - first), 299_000) for i in numbers]
        return shards.Index(tuple(members))

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(shards, "index", made_up):
        data, out = Path(folder, "data"), Path(folder, "run")
        data.mkdir()
        out.mkdir()
        for i in range(-(-count // A_SHARD)):
            (data / f"shard-{i:05}.tar").touch()
        started = time.perf_counter()
        Photos.of(data, 50, out)
        first_seconds = time.perf_counter() - started
        started = time.perf_counter()
        photos = Photos.of(data, 50, out)
        again_seconds = time.perf_counter() - started
        started = time.perf_counter()
        photos.digest()
        digest_seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in out.iterdir())
        del photos
        tracemalloc.start()
        photos = Photos.of(data, 50, out)
        held, peak = tracemalloc.get_traced_memory()
        assert len(photos.train) == count - 50
    print(f"{count} images in {-(-count // A_SHARD)} shards, without reading their headers")
    print(f"{first_seconds:.1f} s; from the kept index {again_seconds:.1f} s; the digest {digest_seconds:.1f} s")
    print(f"bytes an image: {held / count:.0f} held, {peak / count:.0f} at most, {size / count:.0f} on the disk")
    return 0


if __name__ == "__main__":
    main()
