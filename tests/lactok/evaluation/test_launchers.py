"""`--part auto`: which part of a run a process does, by the variables of torchrun and SLURM."""

from __future__ import annotations

import itertools
import logging

import pytest

from lactok.errors import WrongValue
from lactok.evaluation import launchers
from lactok.evaluation.config import Settings, part_of


def array(number: int, least: int = 0, most: int = 3, step: int = 1, **more: str) -> dict[str, str]:
    """The variables of a job of a SLURM array."""
    limits = {"MIN": least, "MAX": most, "STEP": step, "COUNT": (most - least) // step + 1}
    return {launchers.ARRAY: str(number)} | {f"SLURM_ARRAY_TASK_{k}": str(v) for k, v in limits.items()} | more


SRUN = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "3", "SLURM_STEP_NUM_TASKS": "3"}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        (array(2), (2, 4)),
        (array(7, least=1, most=9, step=2), (3, 5)),
        (array(3, least=3, most=3), (0, 1)),  # one job of an array that is submitted again alone does all that is left
        (array(2, SLURM_PROCID="1", **SRUN), (7, 12)),
        (array(2, RANK="1", WORLD_SIZE="2"), (5, 8)),
        # torchrun on each of three machines: its own count has all of their processes
        ({"SLURM_PROCID": "2", "RANK": "5", "WORLD_SIZE": "6", **SRUN}, (5, 6)),
        # the script of a batch job is one process, whatever the job's tasks
        (array(2, SLURM_JOB_ID="77", SLURM_PROCID="0", SLURM_NTASKS="8"), (2, 4)),
    ],
)
def test_the_part(environment: dict[str, str], part: tuple[int, int]) -> None:
    found = launchers.place(environment)
    assert (found.index, found.count) == part


def test_jobs_of_an_array_and_their_processes_have_all_parts_once() -> None:
    jobs = [array(i, least=10, most=18, step=4) for i in (10, 14, 18)]
    processes = [{"SLURM_PROCID": str(i), **SRUN} for i in range(3)]
    found = [launchers.place(job | process) for job, process in itertools.product(jobs, processes)]
    assert sorted(place.index for place in found) == list(range(9))
    assert {place.count for place in found} == {9}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "looked for RANK and WORLD_SIZE"),
        ({"RANK": "1"}, "looked for RANK and WORLD_SIZE"),
        ({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, "Write I/N instead"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK 2, WORLD_SIZE 2 is no place"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK 'one' is no whole number"),
        (array(2, SLURM_ARRAY_TASK_COUNT="3"), "not evenly spaced; submit it with --array=0-2"),
        (array(4), "SLURM_ARRAY_TASK_ID 4 is none of 0-3:1"),
        # a guess of the number of jobs would leave shards to jobs that nobody has started
        ({launchers.ARRAY: "1"}, "SLURM_ARRAY_TASK_MIN and SLURM_ARRAY_TASK_MAX are not set; .* or write I/N instead"),
        ({launchers.ARRAY: "0", "SLURM_ARRAY_TASK_MAX": "3"}, "since SLURM_ARRAY_TASK_MIN is not set"),
        ({launchers.ARRAY: "0", "SLURM_ARRAY_TASK_COUNT": "4"}, "0 does not say how many jobs there are"),
    ],
)
def test_what_numbers_nothing_is_one_line(environment: dict[str, str], message: str) -> None:
    with pytest.raises(WrongValue, match=message) as error:
        launchers.place(environment)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, "cuda:1"),
        ({"SLURM_PROCID": "2", "SLURM_LOCALID": "1", "CUDA_VISIBLE_DEVICES": "0,1,2,3", **SRUN}, "cuda:1"),
        ({"SLURM_PROCID": "2", "SLURM_LOCALID": "1", "CUDA_VISIBLE_DEVICES": "1", **SRUN}, "cuda"),
        (array(2, CUDA_VISIBLE_DEVICES="0,1"), "cuda"),
        ({"LOCAL_RANK": "1"}, "cuda"),
    ],
)
def test_the_gpu_of_a_process(environment: dict[str, str], device: str) -> None:
    assert launchers.device_here("cuda", environment) == device
    assert launchers.device_here("cpu", environment) == "cpu"
    assert launchers.device_here("cuda:3", environment) == "cuda:3"


def test_settings_take_the_part_and_say_where_from(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    settings = Settings(part="auto")
    settings.check()
    with caplog.at_level(logging.INFO, "lactok"):
        settings.use_machine()
    assert caplog.messages == ["part 2/3, from RANK 1, WORLD_SIZE 3"]
    assert settings.execution().part == part_of("auto") == (1, 3)
    assert Settings(part="auto", device="cuda").device == "cuda:1"
    assert Settings(device="cuda").device == "cuda"
