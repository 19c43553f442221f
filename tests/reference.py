"""Data and reference sets that are not part of the repository: the folder `shared` beside a checkout.

Where a part of it is absent the test is skipped with its name; `LACTOK_REFERENCE_SETS=required` makes that a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
SHARED = ROOT.parent / "shared"


def shared(*parts: str) -> Path:
    """A path under the folder `shared`: `shared("golden", "flextok")`.

    Raises:
        Skipped: it is not there; or Failed, where the reference sets are required.
    """
    path = SHARED.joinpath(*parts)
    if not path.exists():
        reason = f"reference data {'/'.join(parts)} is not in the folder `shared` beside this checkout"
        if os.environ.get("LACTOK_REFERENCE_SETS") == "required":
            pytest.fail(f"{reason}, and LACTOK_REFERENCE_SETS=required is set")
        pytest.skip(reason)
    return path
