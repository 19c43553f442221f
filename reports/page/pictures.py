"""The pictures of the page and their thumbnails, in files that are named after their content's digest."""

from __future__ import annotations

import io
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from lactok.files import write_atomically

# Pillow's name of a format -> suffix of the file
SUFFIXES = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
_OURS = re.compile(r"[0-9a-f]{20}(-\d+)?\.(png|jpg|webp)")


class Pictures:
    """Writes the files in `<out>/pictures`; no name from a result becomes part of a path or an address.

    Attributes:
        folder: the folder of the files.
        problems: a line for each picture that could not be read.
    """

    def __init__(self, out: Path):
        self.folder = out / "pictures"
        self.problems: list[str] = []
        self._used: set[str] = set()

    def add(self, path: Path, thumbnail: int) -> dict[str, Any] | None:
        """Copy a picture and make its thumbnail, of at most `thumbnail` pixels a side.

        Returns:
            The addresses of both in the page, `full` and `thumb`, with the picture's `width` and `height` in pixels; or
            None where it cannot be read.
        """
        try:
            content = path.read_bytes()
            with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as image:
                size, suffix = image.size, SUFFIXES[str(image.format)]
                name = sha256(content).hexdigest()[:20]
                full, thumb = f"{name}.{suffix}", f"{name}-{thumbnail}.webp"
                if not (self.folder / thumb).is_file():
                    self._write(thumb, _thumbnail(image, thumbnail))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, OSError) and error.errno is not None and path.is_file():
                raise  # the disk failed, and not the picture
            where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
            self.problems.append(f"left out: {where}: not a picture that can be read ({type(error).__name__})")
            return None
        if not (self.folder / full).is_file():
            self._write(full, content)
        self._used |= {full, thumb}
        return {"full": f"pictures/{full}", "thumb": f"pictures/{thumb}", "width": size[0], "height": size[1]}

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.folder / name, content)

    def remove_others(self) -> None:
        """Remove the pictures of an earlier build that this one has not added."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if _OURS.fullmatch(path.name) and path.name not in self._used:
                    path.unlink()


def _thumbnail(image: Image.Image, side: int) -> bytes:
    """Return a WebP file of the picture, of at most `side` pixels a side."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=82, method=4)
    return out.getvalue()
