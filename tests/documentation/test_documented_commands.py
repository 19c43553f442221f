"""Every command of README, the pages and the notebooks: its own parser takes its arguments, and its names are known."""

from __future__ import annotations

import argparse
import configparser
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, ROOT, Command, blocks, commands, simple_commands, text_of

from lactok import command, registry
from lactok.data.registry import STAGES
from lactok.errors import UserError
from lactok.evaluation import protocol
from lactok.evaluation.config import split_names
from lactok.training.tiny import CONFIGS, names
from reports.console import _file

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# programs of others; any other first word of a line is a mistake of the page
OTHERS = {".", "accelerate", "cd", "done", "for", "git", "grep", "lint-imports", "ls", "mkdocs", "paste", "pip"}
OTHERS |= {"pre-commit", "printf", "pytest", "python", "ray", "torchrun", "uv"}


class Accepted(BaseException):
    """A command's parser has taken its arguments."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments


@pytest.fixture(autouse=True)
def only_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command end as soon as its arguments are parsed."""
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        raise Accepted(parse(self, args, namespace))

    monkeypatch.setattr(command.Parser, "parse_args", parse_alone)


def parsed(found: Command) -> argparse.Namespace | None:
    """The arguments of a command; None for `--help` and what else ends by itself."""
    module = "reports.console" if found.module == "lactok" else found.module
    try:
        importlib.import_module(_file(module)).main(list(found.arguments))
    except Accepted as accepted:
        return accepted.arguments
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"exit code {stop.code}: {found.line}")
    return None


def problems(found: argparse.Namespace, page: str) -> list[str]:
    """Names in a command's arguments that nothing is registered under; a page's own plug-ins are known."""
    said = []
    for key in ("tokenizers", "generators", "generator"):
        given = getattr(found, key, None)
        for name in split_names(given) if isinstance(given, str) else ():
            base = name.partition("@")[0]
            if key == "generator" and "captioner" in found and base in STAGES.names():
                continue  # of lactok.data, where a generator is any stage that makes pictures
            if f'"{base}"' in page or ".py:" in base or base in ("all", "local") or re.fullmatch(r"[A-Z]+", base):
                continue
            try:
                registry.spec(name)
            except UserError as error:
                said.append(str(error))
    if getattr(found, "protocol", "NAME") != "NAME":
        try:
            protocol.get(found.protocol)
        except UserError as error:
            said.append(str(error))
    config = getattr(found, "config", None)
    if config and not ((ROOT / config).is_file() or (CONFIGS / f"{config}.toml").is_file()):
        said.append(f"config: {config}")
    if getattr(found, "trainer", None) == "tiny" and found.name not in (*names(), "NAME"):
        said.append(f"tiny: {found.name}")
    return said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_are_taken_by_their_own_parsers(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = text_of(page) + "".join(file.read_text() for file in page.parent.glob("*.py"))
    said = []
    for found in commands(page):
        try:
            arguments = parsed(found)
        except pytest.fail.Exception:
            error = capsys.readouterr().err
            if found.is_whole or "required" not in error:
                said.append(f"{found.line}: {error}")
            continue
        said += [f"{found.line}: {what}" for what in (problems(arguments, own) if arguments else [])]
    assert said == []


def test_commands_are_found() -> None:
    every = [(page.name, found) for page in PAGES for found in commands(page)]
    assert len(every) > 100
    modules = {found.module for _, found in every}
    assert {"benchmarks.recon", "benchmarks.geneval", "lactok.train", "lactok.weights", "reports", "lactok"} <= modules
    assert {name for name, _ in every} >= {"README.md", "cluster.md", "cluster.ipynb", "quick-start.md"}


@pytest.mark.parametrize(
    "line",
    [
        "python -m benchmarks.recon --tokenizer x --datasett y",
        "lactok recno --tokenizers x",
        "python -m benchmarks.recon --part",
    ],
)
def test_a_wrong_command_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.md").write_text(f"```sh\n{line}\n```\n")
    (found,) = commands(tmp_path / "page.md")
    with pytest.raises(pytest.fail.Exception, match="exit code 2"):
        parsed(found)


def test_a_wrong_name_is_found() -> None:
    found = argparse.Namespace(tokenizers="llamagen-vq61 mine", protocol="paper-1204", config="no.toml")
    tokenizer, wrong_protocol, config = problems(found, '"mine"')
    assert "did you mean 'llamagen-vq16'" in tokenizer
    assert "did you mean 'paper-1024'" in wrong_protocol
    assert config == "config: no.toml"


def test_words_of_a_line() -> None:
    line = "A=1 B=$(ls -d x/* | paste -sd:) python -m a.b 'c d' > file 2>&1 && lactok e 2> log # and so on"
    assert list(simple_commands(line)) == [
        ["ls", "-d", "x/*"],
        ["paste", "-sd:"],
        ["python", "-m", "a.b", "c d"],
        ["lactok", "e"],
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_environments_extras_and_tests_that_are_named_exist(page: Path) -> None:
    text = text_of(page)
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = {section.removeprefix("testenv:") for section in tox.sections()} | {"py311", "py312", "py313"}
    for group in re.findall(r"tox -e ([\w,]+)", text):
        assert set(group.split(",")) <= environments, group
    for group in re.findall(r"'(?:lactok|\.)\[([\w,]+)\]'", text):
        assert set(group.split(",")) <= set(EXTRAS), group
    for path in re.findall(r"(?<!\w)(tests/[\w/.]+?)(?:::\w+)?[`\s]", text):
        assert (ROOT / path).exists(), path


def test_first_words_of_shell_lines_are_known() -> None:
    for page in PAGES:
        for language, block in blocks(page):
            lines = re.sub(r"\\\n", " ", block).splitlines() if language == "sh" else []
            for words in (w for line in lines for w in simple_commands(line)):
                assert words[0] in {*OTHERS, "lactok"} or words[0].startswith("LACTOK_"), (page.name, words)
