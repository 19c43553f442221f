"""Which part of a run a process does, by what torchrun and SLURM tell it: `part` auto.

Two things can count processes. A SLURM array counts jobs. Inside a job, torchrun or srun counts processes. Where both
do, every process of every job of the array has a part of its own: there are (jobs) x (processes) parts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lactok.errors import WrongValue, integer

AUTO = "auto"
ARRAY = "SLURM_ARRAY_TASK_ID"
LOOKED_FOR = f"RANK and WORLD_SIZE (torchrun), {ARRAY} (a SLURM array), SLURM_PROCID and SLURM_NTASKS (srun)"


@dataclass(frozen=True)
class Place:
    """One process among those that were started together.

    Attributes:
        index: its number, from 0.
        count: how many there are.
        found: the variables that say so, for messages.
    """

    index: int
    count: int
    found: str


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return which of all processes this one is.

    Args:
        environment: the environment variables.

    Raises:
        WrongValue: none of the variables is set, or they contradict each other; the message names them.

    >>> place({"RANK": "1", "WORLD_SIZE": "4"})
    Place(index=1, count=4, found='RANK 1, WORLD_SIZE 4')
    >>> array = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_MAX": "8"}
    >>> place(array | {"SLURM_ARRAY_TASK_STEP": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "3"}).index
    7
    """
    jobs, processes = _of_array(environment), _of_torchrun(environment) or _of_srun(environment)
    if jobs is None and processes is None:
        raise WrongValue(f"`part` auto: nothing here numbers this process; looked for {LOOKED_FOR}. Write I/N instead")
    if jobs is None or processes is None:
        return jobs or processes  # type: ignore[return-value]
    index = jobs.index * processes.count + processes.index
    return Place(index, jobs.count * processes.count, f"{jobs.found}, {processes.found}")


def device_here(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the GPU of this process among those of its machine, where `device` is just "cuda"; else `device` itself.

    torchrun numbers the processes of a machine by LOCAL_RANK. srun does by SLURM_LOCALID, which counts only where the
    process sees several GPUs: with --gpus-per-task each sees its own alone.

    >>> device_here("cuda", {"LOCAL_RANK": "1", "RANK": "5", "WORLD_SIZE": "8"})
    'cuda:1'
    >>> device_here("cuda", {"SLURM_LOCALID": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"})
    'cuda'
    """
    if device != "cuda":
        return device
    local = environment.get("LOCAL_RANK", "") if _of_torchrun(environment) else ""
    if not local and _of_srun(environment) and "," in environment.get("CUDA_VISIBLE_DEVICES", ""):
        local = environment.get("SLURM_LOCALID", "")
    return f"cuda:{local}" if local else device


def _of_torchrun(environment: Mapping[str, str]) -> Place | None:
    """Return which of torchrun's processes this one is; None if torchrun did not start it."""
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    return _checked(environment, "RANK", "WORLD_SIZE")


def _of_srun(environment: Mapping[str, str]) -> Place | None:
    """Return which of srun's processes this one is; None if srun did not start it.

    The script of a batch job has SLURM_PROCID 0 and the job's SLURM_NTASKS as well, although it is one process. There
    the number of the step is missing, which every process of srun has.
    """
    if "SLURM_PROCID" not in environment or ("SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment):
        return None
    for count in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        if count in environment:
            return _checked(environment, "SLURM_PROCID", count)
    return None


def _of_array(environment: Mapping[str, str]) -> Place | None:
    """Return which job of a SLURM array this one is; None if it is of none.

    Raises:
        WrongValue: the array's numbers are not evenly spaced, so that a job cannot tell how many come before it, or
            its first or last number is not set, as where somebody set the job's number by hand.
    """
    if ARRAY not in environment:
        return None
    number = _number(environment, ARRAY)
    unset = [name for name in ("SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX") if name not in environment]
    if unset:
        raise WrongValue(
            f"`part` auto: {ARRAY} {number} does not say how many jobs there are, since {' and '.join(unset)} "
            f"{'is' if len(unset) == 1 else 'are'} not set; set the array's first and last number there, or write I/N "
            "instead"
        )
    least = _number(environment, "SLURM_ARRAY_TASK_MIN")
    most = _number(environment, "SLURM_ARRAY_TASK_MAX")
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    if step < 1 or not least <= number <= most or (number - least) % step:
        raise WrongValue(f"`part` auto: {ARRAY} {number} is none of {least}-{most}:{step}")
    count = (most - least) // step + 1
    told = _number(environment, "SLURM_ARRAY_TASK_COUNT", count)
    if told != count:
        raise WrongValue(
            f"`part` auto: the array has {told} jobs between {least} and {most}, so their numbers are not evenly "
            f"spaced; submit it with --array=0-{max(told, 1) - 1}, or write I/N instead"
        )
    return Place((number - least) // step, count, f"{ARRAY} {number} of {least}-{most}:{step}")


def _checked(environment: Mapping[str, str], index: str, count: str) -> Place:
    """Return the place that two variables tell; raise WrongValue if that is none."""
    found = Place(_number(environment, index), _number(environment, count), "")
    text = f"{index} {found.index}, {count} {found.count}"
    if not 0 <= found.index < found.count:
        raise WrongValue(f"`part` auto: {text} is no place among processes")
    return Place(found.index, found.count, text)


def _number(environment: Mapping[str, str], name: str, otherwise: int | None = None) -> int:
    """Return the whole number in a variable, `otherwise` where it is not set; raise WrongValue for anything else."""
    text = environment.get(name)
    if text is None and otherwise is not None:
        return otherwise
    try:
        return integer(text or "")
    except ValueError:
        raise WrongValue(f"`part` auto: {name} {(text or '')[:40]!r} is no whole number") from None
