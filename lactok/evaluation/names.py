"""When two names of files are one: the same characters may be written in more than one way."""

from __future__ import annotations

import unicodedata


def normalised(name: str) -> str:
    """Return a name as it is compared: in Unicode's composed form, as most systems write it (macOS does not).

    >>> normalised("cafe\\u0301.png") == "caf\\u00e9.png"
    True
    """
    return unicodedata.normalize("NFC", name)
