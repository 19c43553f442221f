"""What runs in the processes of a Ray cluster: workers, and the keeper of a folder of results that some do not see."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import platform
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lactok.device import device_name
from lactok.errors import UserError
from lactok.evaluation import elsewhere as far
from lactok.evaluation.timing import Timer
from lactok.files import temporary, tidy

LIBRARIES = ("torch", "numpy", "pillow")  # whose versions stand in keys, or decide the last bits


@dataclass
class Answer:
    """What a process says when it has done what it was asked for.

    Attributes:
        value: what was asked for.
        error: the exception that was raised instead, pickled; b"" for none.
        trace: its traceback.
        logged: (logger, level, text) of what was logged meanwhile, warnings and worse.
    """

    value: Any = None
    error: bytes = b""
    trace: str = ""
    logged: list[tuple[str, int, str]] = field(default_factory=list)

    def result(self) -> Any:
        """Return the value, or raise the error; what was logged is logged here."""
        for name, level, text in self.logged:
            logging.getLogger(name).log(level, "%s", text)
        if not self.error:
            return self.value
        try:
            error = pickle.loads(self.error)
        except Exception:  # of a class that is not here
            error = RuntimeError(self.trace.strip().rpartition("\n")[2])
        if not isinstance(error, UserError):
            error.add_note(self.trace)
        raise error


class _Collector(logging.Handler):
    """Collects warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.name, record.levelno, record.getMessage()))


def answers(method: Callable[..., Any]) -> Callable[..., Answer]:
    """Let a method return an `Answer`, also where it raises an error."""

    @functools.wraps(method)
    def answering(*args: Any) -> Answer:
        collector, logger = _Collector(), logging.getLogger("lactok")
        logger.addHandler(collector)
        answer = Answer(logged=collector.found)
        try:
            answer.value = method(*args)
        except Exception as error:
            answer.trace = traceback.format_exc()
            try:
                answer.error = pickle.dumps(error)
            except Exception:  # it holds what cannot be sent
                answer.error = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
        finally:
            logger.removeHandler(collector)
        return answer

    return answering


@dataclass(frozen=True)
class Facts:
    """What is known of a process and its machine.

    Attributes:
        host: the machine's name.
        sees: whether it sees the folder of results, and may write to it.
        same: what must be the same in all processes, since it decides numbers or keys of the store: what it is -> its
            value.
    """

    host: str
    sees: bool
    same: dict[str, str]


def same_everywhere(device: str) -> dict[str, str]:
    """Return `Facts.same` of this process.

    Args:
        device: where it computes.
    """
    root = Path(__file__).parents[1]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(root.rglob("*.py")))).hexdigest()
    found = {"lactok": f"{version('lactok')}, code {code[:8]}", "Python": platform.python_version()}
    return found | {name: version(name) for name in LIBRARIES} | {"device": device_name(device)}


class Worker:
    """A worker process; Ray makes it an actor."""

    @answers
    def look(self, folder: str, probe: str, device: str) -> Facts:
        """Go to a folder if it is here, and return what is known of this process.

        Args:
            folder: the working folder where the run began.
            probe: a file in the folder of results; "" if that is not to be looked for.
            device: where this process is to compute.
        """
        if os.path.isdir(folder):
            os.chdir(folder)
        sees = bool(probe) and os.path.exists(probe) and os.access(os.path.dirname(probe), os.W_OK)
        return Facts(platform.node(), sees, same_everywhere(device))

    @answers
    def begin(self, what: bytes, out: str, keeper: Any) -> None:
        """Make ready for jobs.

        Args:
            what: (what does a job, what prepares this process, its arguments), packed.
            out: the folder of results.
            keeper: the actor that keeps it, None if this machine sees it.
        """
        self.mirror: far.Mirror | None = None
        if keeper is not None:
            folder = temporary(Path(tempfile.gettempdir()) / "lactok")
            tidy(folder.parent, earlier=False)  # what killed workers left
            self.mirror = far.Mirror(Path(out), FarKeeper(keeper), folder)
            far.use_mirror(self.mirror)
        self.work, start, arguments = far.unpacked(what)
        start(*arguments)

    @answers
    def do(self, job: bytes) -> Timer:
        """Do a job and return the time that it took."""
        try:
            timer = self.work(far.unpacked(job))
            if self.mirror is not None:
                self.mirror.send_pictures()
        finally:
            if self.mirror is not None:
                self.mirror.clear()
        return timer


class KeeperActor:
    """The keeper of a folder of results, where it is seen; Ray makes it an actor.

    Args:
        out: the folder of results.
    """

    def __init__(self, out: str):
        self.keeper = far.FolderKeeper(out)

    @answers
    def read(self, name: str) -> bytes | None:
        return self.keeper.read(name)

    @answers
    def write(self, name: str, data: bytes) -> None:
        self.keeper.write(name, data)

    @answers
    def remove(self, name: str) -> None:
        self.keeper.remove(name)


class FarKeeper:
    """A keeper that asks a `KeeperActor`.

    Args:
        actor: the actor.
    """

    def __init__(self, actor: Any):
        self.actor = actor

    def read(self, name: str) -> bytes | None:
        return self._ask("read", name)

    def write(self, name: str, data: bytes) -> None:
        self._ask("write", name, data)

    def remove(self, name: str) -> None:
        self._ask("remove", name)

    def _ask(self, method: str, *arguments: object) -> Any:
        import ray

        return ray.get(getattr(self.actor, method).remote(*arguments)).result()
