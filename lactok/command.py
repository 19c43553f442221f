"""How every command ends: a user's mistake is one line and exit code 2, a bug keeps its traceback and exits with 1."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lactok.errors import UserError

Main = Callable[[Sequence[str] | None], int]


class Parser(argparse.ArgumentParser):
    """The arguments of a command; a mistake in them is a UserError, without the long usage that argparse prints."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` explains the arguments")


def command(main: Main) -> Callable[..., NoReturn]:
    """Turn `main(argv) -> exit code` into one that exits."""

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> NoReturn:
        try:
            code = main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
        except BrokenPipeError:  # the reader of our output, `head` for one, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            code = 130
        raise SystemExit(code)

    return run
