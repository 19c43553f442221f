"""How every command ends: a user's mistake is one line and exit code 2, a bug keeps its traceback and exits with 1."""

from __future__ import annotations

import argparse
import difflib
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TextIO

from lactok.errors import DISK_FULL, UserError, WrongValue
from lactok.extras import MissingPackage, of_error

Main = Callable[[Sequence[str] | None], int]

_flags: set[str] = set()  # arguments of the command that is running, as Python names: "batch_size"
_programs: list[str] = []  # the command that is running, then its subcommand: "python -m benchmarks.recon"
_called: dict[str, str] = {}  # a parser's own `prog` -> how the user called it: "lactok recon"


def set_program_name(program: str, otherwise: str) -> None:
    """Let help and messages of the parser whose `prog` is `program` name the command `otherwise`, as it was called."""
    _called[program] = otherwise


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a UserError for a mistake, where argparse prints a long usage and exits.

    Args:
        prog: the command, "python -m benchmarks.recon".
        examples: what the command may be asked for, in words -> the arguments for that; they stand below the help.
        kwargs: other arguments of argparse's parser.
    """

    def __init__(self, prog: str | None = None, examples: Mapping[str, str] | None = None, **kwargs: Any):
        super().__init__(_called.get(prog or "", prog), **kwargs)
        self.examples = examples or {}

    def format_help(self) -> str:
        """Return the text of `--help`, with the examples below it."""
        lines = [line for what, words in self.examples.items() for line in (f"  {what}:", f"    {self.prog} {words}")]
        return super().format_help() + "\n".join(["\nexamples:", *lines, ""] if lines else [])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and note the flags for `as_flags`; a chosen subcommand's parser comes here too."""
        _programs.append(self.prog)
        _flags.update(name.removeprefix("--").replace("-", "_") for a in self._actions for name in a.option_strings)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        # arguments that nobody takes are the first parser's mistake to tell, but the subcommand's help explains them
        last = _programs[-1] if _programs else ""
        program = last if last.startswith(f"{self.prog} ") else self.prog
        raise UserError(f"{message}{self._hint(message)}; `{program} --help` explains the arguments")

    def _hint(self, message: str) -> str:
        """Return what may have been meant by the first argument that argparse does not know; "" for another mistake."""
        found = re.match(r"unrecognized arguments: (\S+)", message)
        if not found:
            return ""
        if not found[1].startswith("-"):
            takes_names = any(action.metavar == "NAMES" for action in self._actions)
            return ": several names are one argument, in quotes or with commas between them" if takes_names else ""
        flags = [f"--{name.replace('_', '-')}" for name in _flags]
        near = difflib.get_close_matches(found[1].partition("=")[0], flags, n=1, cutoff=0.75)
        return f", did you mean {near[0]}?" if near else ""


def given(parser: Parser, argv: Sequence[str] | None) -> set[str]:
    """Return the names of the arguments that the user gave, whatever their values.

    >>> parser = Parser()
    >>> _ = parser.add_argument("--seed", type=int, default=0)
    >>> given(parser, ["--seed", "0"]), given(parser, [])
    ({'seed'}, set())
    """
    defaults = {action: action.default for action in parser._actions}
    try:
        for action in defaults:
            action.default = argparse.SUPPRESS
        return set(vars(parser.parse_args(argv)))
    finally:
        for action, default in defaults.items():
            action.default = default


def refuse_beside(argument: str, others: Iterable[str], named: Collection[str], why: str) -> None:
    """Raise WrongValue if the user named an argument and one of those that it would leave without effect.

    Args:
        argument: the argument, as a Python name.
        others: those that do not go with it.
        named: all that the user named, see `given`.
        why: why they do not go together, for the message.
    """
    if argument in named:
        for other in others:
            if other in named:
                raise WrongValue(f"`{other}` does not go with `{argument}`, {why}; leave one of them out")


def as_flags(message: str) -> str:
    """Return a message of the library with `argument` written as --argument, where the running command has that flag.

    >>> parser = Parser()
    >>> _ = parser.add_argument("--batch-size")
    >>> _ = parser.parse_args([])
    >>> as_flags("`batch_size` 0: 1 or more; `nothing` stays")
    '--batch-size 0: 1 or more; `nothing` stays'
    """
    return re.sub(
        r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}" if found[1] in _flags else found[0], message
    )


def interpreter() -> str:
    """Return how the user starts the Python that runs: "python", or the path of tox's, which no shell finds."""
    return os.path.relpath(sys.executable) if "TOX_ENV_DIR" in os.environ else "python"


def messages() -> TextIO:
    """Return the stream of messages and progress: standard error, but standard output where both are a terminal.

    A terminal of tox, for one, reads both streams by themselves, so that their lines come in any order; in one stream
    they cannot.
    """
    return sys.stdout if sys.stdout.isatty() and sys.stderr.isatty() else sys.stderr


class _Messages(logging.Handler):
    """Prints log records as plain lines; it looks the stream up each time, since tests and notebooks replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(as_flags(self.format(record)), file=messages(), flush=True)


def show_log(level: int = logging.INFO) -> None:
    """Print what the library logs, one plain line for each record; a second call in a process changes nothing."""
    logger = logging.getLogger("lactok")
    if not any(isinstance(handler, _Messages) for handler in logger.handlers):
        logger.addHandler(_Messages())
        logger.setLevel(level)


def _explained(error: UserError | ImportError) -> UserError | None:
    """What to print of an error; for a package that is missing, the extra that is named as the command is goes first.

    None for a bug: something cannot be imported that no extra would bring.
    """
    if not isinstance(error, ImportError):
        return error
    program = _programs[-1] if _programs else "this"
    what = error.what if isinstance(error, MissingPackage) else program
    own = error if isinstance(error, MissingPackage) else None  # where the metadata name no extra, it says what it can
    return of_error(error, re.findall(r"\w+", program), what) or own


def command(main: Main) -> Callable[..., NoReturn]:
    """Turn `main(argv)`, which returns an exit code, into a function that ends the process with that code.

    A UserError becomes one line and exit code 2. Output whose reader has gone ends with 0, Ctrl-C with 130.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> NoReturn:
        show_log()
        for stream in (sys.stdout, sys.stderr):  # a terminal's encoding may lack a sign of a table
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            code = main(argv)
            sys.stdout.flush()
        except (UserError, ImportError) as error:
            explained = _explained(error)
            if explained is None:
                raise
            print(f"error: {as_flags(str(explained))}", file=messages())
            code = 2
        except BrokenPipeError:  # whoever read our output, `head` for one, has gone
            # Python flushes standard output once more when it ends, which must not fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            if error.errno not in DISK_FULL or error.filename is not None:
                raise
            print("error: no space left where the output goes; results that are finished are kept", file=messages())
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # as above
            code = 2
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=messages())
            code = 130
        raise SystemExit(code)

    return run
