"""Which metrics a run measures: those that the option `--metrics` names, as far as they can be measured here."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.errors import UserError, WrongValue
from lactok.metrics.registry import Metric, find, known, say_left_out, sorted_keys


def chosen(text: str | Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of the metrics that the option `--metrics` asks for, in the order of columns.

    Args:
        text: "default", "all", keys separated by commas or spaces, or a list of keys.
        default: the keys that "default" stands for.

    Raises:
        UnknownName: a metric is unknown.
        WrongValue: no metric is named.
    """
    if text == "default":
        return tuple(default)
    if text == "all":
        return tuple(m.key for m in known() if _is_installed(m))
    named = split(text) if isinstance(text, str) else list(dict.fromkeys(text))
    for word in ("default", "all"):
        if word in named and len(named) > 1:
            raise WrongValue(f"`metrics`: {word} stands alone; name the metrics instead")
    for key in named:
        find(key)
    if not named:
        raise WrongValue("`metrics` is empty; name some, or use default or all")
    return tuple(sorted_keys(named))


def _is_installed(metric: Metric) -> bool:
    """Return whether the libraries of a metric are installed; the log says which one is not."""
    try:
        metric.hashed()
    except UserError as error:
        say_left_out(f"{metric.key}: {error}")
        return False
    return True


def defined_at(keys: Sequence[str], side: int | None, strict: bool) -> tuple[str, ...]:
    """Return the keys of the metrics that are defined for images of a size; the log names the others.

    Args:
        keys: the keys.
        side: pixels of the images' shorter side; None where it differs from image to image.
        strict: whether a metric that is not defined is an error.

    Raises:
        WrongValue: a metric is not defined, and `strict`.
    """
    kept = []
    for metric in map(find, keys):
        if side is None or side >= metric.smallest:
            kept.append(metric.key)
            continue
        why = f"{metric.key} needs images of {metric.smallest} px or more, these have {side}"
        if strict:
            raise WrongValue(f"`metrics`: {why}; choose a larger `resolution` or leave it out")
        say_left_out(why)
    return tuple(kept)


def split(text: str) -> list[str]:
    """Split a text into keys at commas and spaces, each key once.

    A comma between the options of one metric (`a@x=1,y=2`) does not split.
    """
    keys: list[str] = []
    for part in text.replace(" ", ",").split(","):
        if keys and "=" in part and "@" not in part:
            keys[-1] += f",{part}"
        elif part:
            keys.append(part)
    return list(dict.fromkeys(keys))
