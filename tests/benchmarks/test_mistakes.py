"""Mistakes on the command line are answered before torch is imported, which takes seconds; and help has examples."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from reference import ROOT

from benchmarks.recon import pairs
from lactok.command import Parser

HEAVY = ("torch", "scipy", "pandas", "skimage", "sklearn", "transformers", "diffusers")
RECON = "benchmarks.recon.__main__"
MISTAKES = [
    (RECON, "", "name what is to be measured: --tokenizers local"),
    (RECON, "--tokenizers titok-s123", "unknown tokenizer 'titok-s123', did you mean 'titok-s128'?"),
    (RECON, "--tokenizers jpeg@bit=3", "unknown option of jpeg 'bit', did you mean 'bits'?"),
    (RECON, "--tokenizers jpeg@bits=1", "option bits=1: between 64"),
    (RECON, "--tokenizers identity --dataset cocoo", "unknown data set 'cocoo', did you mean 'coco'?"),
    (RECON, "--tokenizers identity --dataset mjhq", "data set mjhq is not in "),
    (RECON, "--tokenizers identity --dataset no/such", "--dataset no/such: no such folder"),
    (RECON, "--tokenizers identity --protocol paper-1023", "unknown protocol 'paper-1023', did you mean 'paper-1024'?"),
    (RECON, "--tokenizers identity --metrics lpips", "unknown metric 'lpips', did you mean 'lpips_alex'?"),
    (RECON, "--tokenizers identity --resolution 3", "--resolution 3: between 32 and 8192"),
    (RECON, "--tokenizers identity --device toaster", "--device toaster: not a device"),
    (RECON, "--tokenizers identity --weights no/such", "--weights no/such: no such folder"),
    (RECON, "--tokenizers titok-s128 --protocol native", "titok-s128 takes images of 256x256 px alone"),
    (RECON, "--images no/such .", "--images: no such folder no/such"),
    (RECON, "--images . no/such", "--images: no such folder no/such"),
    (RECON, "--images . . --name jpeg", "--name jpeg is a tokenizer's"),
    (RECON, "--images . . --name a/b", "--name 'a/b': up to 64 letters"),
    ("benchmarks.geneval.__main__", "--generators sdxl@step=3", "unknown option of sdxl 'step'"),
    ("lactok.training.__main__", "vq --config no.toml", "config no.toml does not exist"),
    ("lactok.training.__main__", "tiny no", "unknown small tokenizer 'no'"),
    ("lactok.weights.__main__", "fetch nope", "unknown asset, tokenizer or generator 'nope'. `python -m"),
]


@pytest.mark.slow
def test_mistakes_are_answered_before_torch_is_imported(tmp_path: Path) -> None:
    """One process for all of them: what the first imports would be there for the others too."""
    code = (
        "import importlib, shlex, sys\n"
        f"for module, words in {[(module, words) for module, words, _ in MISTAKES]!r}:\n"
        "    try: importlib.import_module(module).main(shlex.split(words))\n"
        "    except SystemExit as stop: assert stop.code == 2, (words, stop.code)\n"
        f"    found = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "    assert not found, (words, found)\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "LACTOK_DATA": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(MISTAKES)
    for line, (_, words, message) in zip(lines, MISTAKES, strict=True):
        assert line.startswith("error: "), words
        assert message in line, words
    assert not list(tmp_path.iterdir())


EXAMPLES = {
    "recon": "benchmarks.recon.__main__",
    "geneval": "benchmarks.geneval.__main__",
    "preference": "benchmarks.preference.__main__",
    "gfid": "benchmarks.gfid.__main__",
    "replay": "benchmarks.replay.__main__",
    "speed": "benchmarks.speed.__main__",
    "datasets": "benchmarks.datasets.__main__",
    "generate": "lactok.generate",
    "train": "lactok.training.__main__",
    "weights": "lactok.weights.__main__",
}


def parser_of(command: str) -> Parser:
    if command in EXAMPLES:
        return importlib.import_module(EXAMPLES[command]).parser()
    return pairs.parser(command, "")


@pytest.mark.parametrize("command", [*EXAMPLES, "exchange"])  # `retrieval` and `variety` have the latter's
def test_help_ends_in_examples_that_the_command_takes(command: str) -> None:
    parser = parser_of(command)
    assert len(parser.examples) >= 2
    text = parser.format_help()
    for what, words in parser.examples.items():
        assert f"  {what}:\n    {parser.prog} {words}\n" in text
        parser.parse_args(shlex.split(words))
