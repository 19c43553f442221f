"""The pages of the documentation, and the blocks of code and the commands that stand on them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reference import ROOT

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "lactok" / "bundled").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *NOTEBOOKS,
]
PACKAGES = ("lactok", "benchmarks", "baselines", "reports")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True)
class Command:
    """A command of this project as a page writes it.

    Attributes:
        module: what `python -m` runs, such as "benchmarks.recon"; for the script "lactok" the word itself.
        arguments: what follows.
        line: the line of the page, for messages.
        is_whole: False for a command in running text, which may leave out what is required.
    """

    module: str
    arguments: tuple[str, ...]
    line: str
    is_whole: bool = True


def text_of(page: Path) -> str:
    """The text of a page as Markdown; of a notebook, what it would print is left out."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else _fenced(source) for kind, source in cells)


def _fenced(source: str) -> str:
    """A notebook's cell as blocks of Markdown: what a shell runs, or a file of its own, apart from what Python runs."""
    first, _, rest = source.partition("\n")
    if first.startswith("%%"):
        is_python = first.startswith("%%writefile") and first.endswith(".py")
        return f"```{'python' if is_python else 'sh'}\n{rest}\n```"
    lines = source.splitlines()
    shell = "\n".join(line[1:] for line in lines if line.startswith("!"))
    python = "\n".join(line for line in lines if not line.startswith(("!", "%")))
    return f"```sh\n{shell}\n```\n```python\n{python}\n```"


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page in their order: language ("" if none is named) and content."""
    found = FENCE.findall(text_of(page))
    return [(language, re.sub(rf"^{indent}", "", content, flags=re.MULTILINE)) for indent, language, content in found]


def code_of(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language, in their order."""
    return [content for named, content in blocks(page) if named == language]


def commands(page: Path) -> list[Command]:
    """The commands of this project in a page's shell blocks and code spans."""
    text = text_of(page)
    shell = [block for language, block in blocks(page) if language in ("sh", "bash")]
    spans = re.findall(r"(?<!`)`((?:python -m|lactok) [^`]+)`(?!`)", FENCE.sub("", text))
    values = dict(re.findall(r"^(\w+)=(\S+)$", "\n".join(shell), re.MULTILINE))
    found = []
    for block in shell:
        found += [c for line in re.sub(r"\\\n", " ", block).splitlines() for c in _of_line(line, values)]
    for span in spans:
        line = " ".join(span.split())
        if not re.search(r"\.\.\.| \| |\[", line):  # a shortened line, or several commands in one
            found += [replace(command, is_whole=False) for command in _of_line(line, values)]
    return found


def _of_line(line: str, values: dict[str, str]) -> Iterator[Command]:
    """The commands of this project in a line of a shell."""
    for words in simple_commands(VARIABLE.sub(lambda found: values.get(found[1], "1"), line)):
        if "-m" in words[:-1] and words[words.index("-m") + 1].partition(".")[0] in PACKAGES:
            start = words.index("-m") + 1
            yield Command(words[start], tuple(words[start + 1 :]), line.strip())
        elif words[0] == "lactok":
            yield Command("lactok", tuple(words[1:]), line.strip())


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line of a shell, without variables before it, redirections and comments."""
    lexer = shlex.shlex(re.sub(r"\d>&\d|(?<=\s)\d(?=>)", "", line), posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    skipped = False  # the next word is a file to read or write
    for word in [*lexer, ";"]:
        if skipped:
            skipped = False
        elif set(word) <= set("<>"):
            skipped = True
        elif set(word) <= set("|&;()"):
            while words and (re.match(r"\w+=", words[0]) or words[0] in ("do", "export")):
                words = words[1:]
            if words:
                yield words
            words = []
        else:
            words.append(word)
