"""A file that an option names: names, keys and results show its own name and a part of its digest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from lactok.errors import MissingFile, UserError
from lactok.files import is_file, sha256
from lactok.outside_text import shown

DIGITS = 12  # of a digest that are shown: enough to tell all files apart that anybody has
LONGEST = 40  # characters of a file's name that are shown


class GivenFile(str):
    """A file as the text "NAME-DIGEST": its name without the ending, and the beginning of its sha256.

    Nothing of the text is of one machine, and another content is another text. So it stands for the file in names, in
    keys and in results.

    Attributes:
        path: where the file lies.
    """

    path: Path

    @classmethod
    def at(cls, path: str, what: str) -> Self:
        """Return the file at a path.

        Args:
            path: as a user wrote it; a relative one begins in the working folder.
            what: named the file, for the message.

        Raises:
            MissingFile: there is no such file, or it cannot be opened.
        """
        place = Path(path)
        if not is_file(place):
            raise MissingFile(f"{what}={shown(path, 200)}: no such file")
        try:
            digest = sha256(place)
        except OSError as error:
            raise MissingFile(f"{what}={shown(path, 200)}: {error.strerror}") from error
        name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", place.stem)[:LONGEST]
        found = cls(f"{name}-{digest[:DIGITS]}")
        found.path = place.resolve()
        return found

    @property
    def name(self) -> str:
        """The file's name without the ending, as it is shown."""
        return self.rpartition("-")[0]

    def check(self) -> None:
        """Raise UserError if the file's content is no longer the one that its text tells."""
        if not is_file(self.path) or not self.endswith(f"-{sha256(self.path)[:DIGITS]}"):
            raise UserError(f"{shown(self.path.name, 200)} has changed since it was named; run again")
