"""Pairs of real photographs with their own captions, which are mixed with the generated ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from lactok.errors import WrongValue
from lactok.evaluation import archives, captions, datasets
from lactok.evaluation.protocol import digest
from lactok.evaluation.samples import Sample
from lactok.evaluation.tar_index import is_pattern, matching
from lactok.files import is_file, is_folder
from lactok.images import UnreadableImage, open_photograph
from lactok.outside_text import shown


class RealPairs:
    """The photographs of a folder or of archives, in the order of their names, with the captions that they have.

    A caption stands in the folder's `captions.json`, as NAME.txt or NAME.json beside a picture or in its shard, or in
    the picture's row of a Parquet file.

    Args:
        source: a folder of pictures or of archives, an archive, or a pattern of archives.

    Raises:
        UserError: there are no pictures, or an archive is damaged.
    """

    def __init__(self, source: str):
        path = Path(source).expanduser()
        if is_folder(path):
            self.samples = datasets.samples_under(path)
        elif is_pattern(source) or (is_file(path) and archives.is_archive(path)):
            self.samples = tuple(datasets.in_archives(matching(source, "`real`"), path.parent))
        else:
            raise WrongValue(f"`real` {shown(source, 200)}: name a folder of pictures, or archives of them")
        if not self.samples:
            raise WrongValue(f"`real` {shown(source, 200)} holds no pictures")

    def __len__(self) -> int:
        return len(self.samples)

    def settings(self) -> dict[str, Any]:
        """Return what the pairs depend on, for JSON: the digest of the list of names, and how many there are.

        The bytes of millions of photographs are not read for that.
        """
        return {"pictures": len(self.samples), "list": digest([sample.id for sample in self.samples])}

    def read(self, number: int) -> tuple[str, str, bytes, str]:
        """Return the name, the caption, the encoded picture and the ending of its file, such as ".jpg".

        A caption that is not there or cannot be read is "".

        Raises:
            UnreadableImage: the picture cannot be read.
        """
        sample = self.samples[number]
        try:
            data = sample.path.read_bytes() if sample.member is None else sample.member.read(sample.path)
        except OSError as error:
            raise UnreadableImage(f"cannot be read ({error.strerror})") from error
        open_photograph(io.BytesIO(data))
        ending = Path(sample.id).suffix.lower() or ".jpg"
        return sample.id, self._caption(sample), data, ending

    def name(self, number: int) -> str:
        """Return the name of a photograph, as it is in the folder or archive."""
        return self.samples[number].id

    def _caption(self, sample: Sample) -> str:
        """Return a photograph's caption on one line, "" if it has none that can be read."""
        try:
            if sample.caption is not None:
                return " ".join(sample.caption.split())
            if sample.member is not None:
                return archives.caption_of(sample.id, sample.path, sample.member) or ""
            for ending in captions.ENDINGS:
                beside = sample.path.with_suffix(ending)
                if is_file(beside):
                    return captions.beside(beside.read_bytes(), ending, shown(beside, 200))
        except (WrongValue, OSError):
            return ""
        return ""
