"""What a user says of a Ray cluster: where it is, and what each task takes of it. Ray itself is not imported here."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lactok.errors import WrongValue, decimal

ENGINES = ("local", "ray")
EXAMPLE = "gpu=0.5,cpu=4"


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, as it is asked for.

    Attributes:
        address: HOST:PORT of its head, or "auto" for one that runs on this machine; None for that of RAY_ADDRESS, and
            where that is not set one that is started here.
        resources: what a task takes: "cpu", "gpu" or a name of the cluster's own, and how much; see `for_task`.
        workers: the largest number of worker processes; None for as many as the cluster has room for.
        shared: whether workers may look for the folder of results, and use it if they see it. Tests switch it off, to
            have on one machine what happens between machines.
    """

    address: str | None = None
    resources: tuple[tuple[str, float], ...] = ()
    workers: int | None = None
    shared: bool = True

    def for_task(self, device: str, threads: int) -> dict[str, float]:
        """Return what a task takes; by default a GPU, or the cores that it computes with.

        Args:
            device: where it computes, "cpu" or "cuda".
            threads: its threads on a CPU.

        Raises:
            WrongValue: it computes on a GPU and takes none.

        >>> Cluster().for_task("cpu", 4), Cluster(resources=(("gpu", 0.5),)).for_task("cuda", 4)
        ({'cpu': 4, 'gpu': 0}, {'cpu': 1, 'gpu': 0.5})
        """
        on_gpu = device.startswith("cuda")
        found = {"cpu": 1 if on_gpu else threads, "gpu": 1 if on_gpu else 0} | dict(self.resources)
        if on_gpu and not found["gpu"]:
            raise WrongValue(f"`ray_resources` gpu=0: with `device` {device} a task needs a GPU, or a part of one")
        return found


def check_cluster(engine: str, address: object, resources: object, device: str) -> None:
    """Raise WrongValue for anything about a cluster that is wrong in itself; nothing is imported or reached."""
    if engine not in ENGINES:
        raise WrongValue(f"`engine` {str(engine)[:40]}: one of {', '.join(ENGINES)}")
    for argument, value in (("ray_address", address), ("ray_resources", resources)):
        if value is not None and (not isinstance(value, str) or not value):
            raise WrongValue(f"`{argument}` {value!r}: a text")
        if value is not None and engine != "ray":
            raise WrongValue(f"`{argument}` is of a Ray cluster: say `engine` ray too, or leave it out")
    if isinstance(address, str):
        check_address(address, "`ray_address`")
    if isinstance(resources, str):
        resources_of(resources)
    if engine == "ray" and re.fullmatch("cuda:[0-9]+", device):
        raise WrongValue(f"`device` {device}: on a Ray cluster each task gets a GPU of its own; say cuda")


def show_token(address: str | None) -> None:
    """Let Ray show the token of this machine, if it has one, to a cluster that is joined; called before Ray is loaded.

    `ray start` asks for a token wherever there is one, and there is one once a program has started Ray here. Ray's own
    `init` with the address of a cluster shows it only where RAY_AUTH_MODE says so, which it reads when it is loaded.
    Where Ray is loaded already, nothing is changed: the clusters that it started later would ask for a token which this
    process does not show.

    Args:
        address: of the cluster; None for that of RAY_ADDRESS, or one that is started here.
    """
    if "ray" in sys.modules:
        return
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if (address or os.environ.get("RAY_ADDRESS")) and (given or (Path.home() / ".ray" / "auth_token").is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_address(address: str, said_by: str) -> None:
    """Raise WrongValue unless an address can be that of a cluster.

    Args:
        address: the address.
        said_by: who named it, for the message.

    >>> check_address("10.0.0.1:6379", "`ray_address`")
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address:
        raise WrongValue(
            f"{said_by} {address[:60]}: the address is that of the cluster's head, HOST:PORT, or auto, and the command "
            "runs on one of the cluster's machines (`ray job submit` starts it there)"
        )
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise WrongValue(f"{said_by} {address[:60]}: write HOST:PORT, as in 10.0.0.1:6379, or auto")


def resources_of(text: str) -> tuple[tuple[str, float], ...]:
    """Return what a task takes, as `ray_resources` says it: NAME=AMOUNT, separated by commas.

    Raises:
        WrongValue: it is written in another way; more than one GPU is not a whole number of them.

    >>> resources_of("gpu=0.5,cpu=4")
    (('gpu', 0.5), ('cpu', 4.0))
    """
    found: dict[str, float] = {}
    for word in text.split(","):
        name, equals, amount = (piece.strip() for piece in word.partition("="))
        try:
            value = decimal(amount)
        except ValueError:
            value = math.nan
        if not equals or not name or not 0 <= value < 1e15:
            raise WrongValue(f"`ray_resources` {word[:40]!r}: write NAME=AMOUNT, separated by commas, as in {EXAMPLE}")
        name = name.lower() if name.lower() in ("cpu", "gpu", "memory") else name
        if name in found:
            raise WrongValue(f"`ray_resources` names {name[:40]} twice")
        if value > 1 and value != int(value) and name != "memory":
            raise WrongValue(f"`ray_resources` {word[:40]}: above 1 it is a whole number")
        found[name] = value
    return tuple(found.items())
