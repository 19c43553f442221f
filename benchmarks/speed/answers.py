"""`python -m benchmarks.speed.answers` measures how soon short commands answer, each in a process of its own.

They are measured beside `import torch`, which a command that only reads its arguments should not have to wait for.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import UserError, integer, whole

TORCH = "import torch"


@dataclass(frozen=True)
class Case:
    """A command that is timed.

    Attributes:
        what: what it is, in words.
        arguments: what stands after `python`.
        code: the exit code that it must have.
    """

    what: str
    arguments: str
    code: int = 0


CASES = (
    Case("Python alone", "-c pass"),
    Case(TORCH, f"-c '{TORCH}'"),
    Case("`import lactok`", "-c 'import lactok'"),
    Case("`recon --help`", "-m benchmarks.recon --help"),
    Case("`geneval --help`", "-m benchmarks.geneval --help"),
    Case("`weights list`", "-m lactok.weights list"),
    Case("`recon --tokenizers local --dry-run`", "-m benchmarks.recon --tokenizers local --dry-run"),
    Case("`recon --tokenizers all --dry-run`", "-m benchmarks.recon --tokenizers all --dry-run"),
    Case("no tokenizer named", "-m benchmarks.recon", 2),
    Case("a wrong option", "-m benchmarks.recon --tokenizer resize-8 --limits 3", 2),
    Case("a wrong tokenizer", "-m benchmarks.recon --tokenizers llamagen-vq15", 2),
    Case("a wrong option of a tokenizer", "-m benchmarks.recon --tokenizers jpeg@quality=3", 2),
    Case("a wrong data set", "-m benchmarks.recon --tokenizers resize-8 --dataset nowhere", 2),
    Case("a wrong protocol", "-m benchmarks.recon --tokenizers resize-8 --protocol paper-1000", 2),
    Case("a wrong metric", "-m benchmarks.recon --tokenizers resize-8 --metrics lpips", 2),
    Case("a number that is none", "-m benchmarks.recon --tokenizers resize-8 --limit three", 2),
    Case("a recipe that is not there", "-m lactok.train lactok --config nowhere.toml --data photographs", 2),
    Case("weights that nobody has", "-m lactok.weights fetch nope", 2),
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Time the commands, print the table, and return 0."""
    parser = Parser(
        prog="python -m benchmarks.speed.answers",
        description="How soon short commands answer, beside the import of torch.",
    )
    parser.add_argument("--rounds", type=integer, default=3, help="the median of these counts (default: %(default)s)")
    args = parser.parse_args(argv)
    rounds = whole("rounds", args.rounds, 1, 100)
    print(table({case: median(case, rounds) for case in CASES}))
    return 0


def median(case: Case, rounds: int) -> float:
    """Return the median of the seconds that a command takes.

    Raises:
        UserError: it ends with another exit code than it should, or a mistake's answer is a traceback.
    """
    return statistics.median(seconds(case) for _ in range(rounds))


def seconds(case: Case) -> float:
    """Return the wall-clock seconds that a command takes, in an empty folder; the errors are those of `median`."""
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, *shlex.split(case.arguments)],
            cwd=folder,
            env=_environment(root),
            capture_output=True,
            text=True,
            check=False,
        )
        taken = time.perf_counter() - started
    if ran.returncode != case.code or "Traceback" in ran.stderr:
        raise UserError(
            f"python {case.arguments} ended with {ran.returncode} instead of {case.code}: {ran.stderr[-300:]}"
        )
    return taken


def _environment(root: Path) -> dict[str, str]:
    """Return this process's environment, by which the commands of this project are found from any folder."""
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def table(times: dict[Case, float]) -> str:
    """Return the times as a Markdown table, each beside that of the import of torch."""
    torch = next(taken for case, taken in times.items() if case.what == TORCH)
    lines = ["| | exit code | seconds | of the import of torch |", "|---|--:|--:|--:|"]
    for case, taken in times.items():
        lines.append(f"| {case.what} | {case.code} | {taken:.2f} | {taken / torch:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
