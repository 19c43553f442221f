"""Prompts in a file of the user's."""

from __future__ import annotations

from typing import Any

from lactok import outside_text
from lactok.errors import MissingFile, WrongValue
from lactok.outside_text import json_object, lines, shown


def of_file(source: str, otherwise: str = "") -> list[dict[str, Any]]:
    """Read prompts from a file, in their order.

    Args:
        source: a .jsonl file with a JSON object per line, or any other text with a prompt per line. Empty lines are
            skipped.
        otherwise: what else could be given, for the message about a file that is not there.

    Returns:
        {"prompt": text} for each line of a text; the objects of a .jsonl file as they are.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: the file is no text, holds no prompt, or has a line that is not a JSON object.
    """
    name = shown(source, 200)
    try:
        text = outside_text.read(source, f"`prompts` {name}")
    except MissingFile as error:
        raise MissingFile(f"{error}; give {otherwise}a file of prompts") from error
    if source.lower().endswith(".jsonl"):
        found = [json_object(line, where) for where, line in lines(text, name)]
    else:
        found = [{"prompt": line.strip()} for _, line in lines(text, name)]
    if not found:
        raise WrongValue(f"`prompts` {name}: no prompt in it")
    return found


def fault(prompt: str) -> str:
    """Return what is wrong with the text of a prompt, as the end of a message; "" for one that a generator can take.

    >>> fault("a red bus"), fault("  ")
    ('', "is empty; say what the picture shows, as in 'a red bus'")
    """
    if not prompt.strip():
        return "is empty; say what the picture shows, as in 'a red bus'"
    if any("\ud800" <= c <= "\udfff" for c in prompt):  # of an argument in another encoding, for one
        return "is not Unicode text; write it in UTF-8"
    control = sorted({c for c in prompt if (ord(c) < 32 and c not in "\t\n\r") or 127 <= ord(c) < 160})
    return f"has the control character {control[0]!a}; write it without" if control else ""
