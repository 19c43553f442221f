"""How long the fuzz tests try: `@tries(50, 5000)` gives 50 inputs in the tests, 5000 in `tox -e fuzz`.

In the tests the inputs are the same every time; the nightly run draws others each time and remembers what it found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from lactok.errors import UserError

TESTS, NIGHTLY = "tests", "nightly"

# inputs are files as often as not: making one takes longer than hypothesis likes, and each is written to one folder
_common = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile(TESTS, derandomize=True, database=None, **_common)
settings.register_profile(NIGHTLY, **_common)


def load_default_profile() -> None:
    """Choose the tests' profile; `--hypothesis-profile` chooses another one afterwards."""
    settings.load_profile(TESTS)


def tries(tests: int, nightly: int) -> Callable[[Any], Any]:
    """Return the decorator of a fuzz test that says how many inputs it gets in the tests and in the nightly run."""
    return settings(max_examples=nightly if settings.get_current_profile_name() == NIGHTLY else tests)


def right_or_one_line(read: Callable[[], Any]) -> Any:
    """Return what `read` returns, or None where it raises a UserError, whose message must be one short line."""
    try:
        return read()
    except UserError as error:
        message = str(error)
    assert message.isprintable(), repr(message)
    assert 0 < len(message) < 600
    return None
