"""A tokenizer and a generator for runs in other processes; the tokenizer writes down what it encodes, and can fail.

They are named by this file, `tests/counting.py:Counting`. Environment variables that begin with LACTOK_ reach every
worker, on a Ray cluster too, and tell it what to do:

- LACTOK_TEST_LOG: a file to which a line is added for each image: the process and the image's seed;
- LACTOK_TEST_FAULT: `KIND FILE`; once, the process whose call makes FILE fails in the manner of KIND;
- LACTOK_TEST_HOLD: a file; calls wait until it is there;
- LACTOK_TEST_PAUSE: seconds that each call takes.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok.errors import WrongValue
from lactok.randomness import noise
from lactok.specs import GeneratorSpec, TokenizerSpec
from lactok.tokenizer import Generator, Tokenizer


def fail(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "mistake":
        raise WrongValue("`resolution` 64: the planted mistake")
    if kind == "bug":
        raise LookupError("the planted bug")
    if kind == "meet":  # wait until another process has encoded, so that two share the work however slow one starts
        end = time.monotonic() + 60
        while not os.path.exists(os.environ["LACTOK_TEST_LOG"]) and time.monotonic() < end:
            time.sleep(0.02)
    if kind == "full":

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        np.savez = full  # type: ignore[assignment]


class Counting(Tokenizer):
    """Mean colour of 4x4 cells at two bits a channel."""

    spec = TokenizerSpec("counting", "test", tokens=16, codebook_size=64, input_size=32, output_size=32, license="MIT")

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        hold = os.environ.get("LACTOK_TEST_HOLD")
        while hold and not os.path.exists(hold):
            time.sleep(0.02)
        time.sleep(float(os.environ.get("LACTOK_TEST_PAUSE", "0")))
        kind, _, file = os.environ.get("LACTOK_TEST_FAULT", "").partition(" ")
        if kind == "poison":  # each time, not once
            if int(seeds[0]) % 5 == int(file):
                fail("kill")
        elif kind:
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                fail(kind)
        if "LACTOK_TEST_LOG" in os.environ:
            with open(os.environ["LACTOK_TEST_LOG"], "a") as log:
                log.write("".join(f"{os.getpid()} {seed}\n" for seed in seeds.tolist()))
        level = (torch.nn.functional.avg_pool2d(images, 8) * 3.999).floor().long().flatten(2)
        return level[:, 0] * 16 + level[:, 1] * 4 + level[:, 2]

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        level = torch.stack([ids // 16, ids // 4 % 4, ids % 4], 1).float()
        return torch.nn.functional.interpolate((level.unflatten(2, (4, 4)) + 0.5) / 4, scale_factor=8.0)


class Clouds(Generator):
    """Noise whose mean is the length of a caption."""

    spec = GeneratorSpec("counting-clouds", "test", "text", 32, "MIT")

    def _generate(self, conditions: list[str], seeds: Tensor) -> Tensor:
        mean = torch.tensor([len(condition) / 100 for condition in conditions])
        return mean.view(-1, 1, 1, 1) + 0.1 * torch.nn.functional.interpolate(noise(seeds, (3, 4, 4), "start"), 32)
