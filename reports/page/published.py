"""Published numbers beside measured ones."""

from __future__ import annotations

from typing import Any

from reports.page.found import Results


def tables(results: Results) -> list[dict[str, Any]]:
    return []
