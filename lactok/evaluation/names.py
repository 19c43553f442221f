"""Names: when two names of files are one, and how results of exchanged ids are named."""

from __future__ import annotations

import unicodedata

EXCHANGED = "+exchanged"  # ends the name of a source that decodes the ids of other images


def normalised(name: str) -> str:
    """Return a name as it is compared: in Unicode's composed form, as most systems write it (macOS does not).

    >>> normalised("cafe\\u0301.png") == "caf\\u00e9.png"
    True
    """
    return unicodedata.normalize("NFC", name)
