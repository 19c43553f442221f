"""What is to be constructed: the stages, the numbers of the pairs, and how they are cut into shards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from lactok import outside_text
from lactok.data.filtering import Rule, rules
from lactok.data.real import RealPairs
from lactok.data.registry import find, settings_of
from lactok.data.sources import picture_source, prompt_source
from lactok.data.stages import Captioner, PictureSource, PromptSource
from lactok.errors import UserError, WrongValue, whole
from lactok.files import is_file, write_atomically
from lactok.outside_text import shown
from lactok.randomness import seed_of

VERSION = 1  # raised by hand when the same settings give other shards
REAL = "real-"  # what the names of shards and pairs of real photographs begin with
SETTINGS = "data.json"  # the settings, in the folder of the pairs


@dataclass(frozen=True)
class Construction:
    """A construction of data, as a user asks for it; processes that do its work get it pickled.

    Attributes:
        out: the folder of the shards.
        prompts: a file of prompts, or the name of a stage; None to take real photographs alone.
        generator: the name of a generator or stage.
        captioner: the name of a stage.
        filters: NAME or NAME>VALUE, separated by spaces or commas, or "none".
        real: a folder or archives of real photographs with captions; None for none.
        count: how many prompts are used, from the first one on; None for all.
        seed: of everything that is drawn.
        shard: pairs of a shard, before they are filtered.
        format: of generated pictures, one of `lactok.data.steps.ENCODINGS`; real ones keep theirs.
        device: where networks compute.
        dtype: the compute dtype of the generator and the captioner.
        batch: pairs that a network gets at a time.
        threads: of each process.
    """

    out: Path
    prompts: str | None
    generator: str
    captioner: str
    filters: str
    real: str | None
    count: int | None
    seed: int
    shard: int
    format: str
    device: str
    dtype: str
    batch: int
    threads: int

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to other processes, which make stages of their own."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def forget_stages(self) -> None:
        """Forget the stages, and with them the networks that they have loaded; they are made again when asked for."""
        for name in ("picture_source", "captioner_stage", "rules"):
            vars(self).pop(name, None)

    # the stages, made once in each process; none is loaded by that

    @cached_property
    def prompt_source(self) -> PromptSource | None:
        return None if self.prompts is None else prompt_source(self.prompts)

    @cached_property
    def picture_source(self) -> PictureSource:
        return picture_source(self.generator)

    @cached_property
    def captioner_stage(self) -> Captioner:
        return find(Captioner, self.captioner)  # type: ignore[type-abstract]

    @cached_property
    def rules(self) -> list[Rule]:
        return rules(self.filters)

    @cached_property
    def real_pairs(self) -> RealPairs | None:
        return RealPairs(self.real) if self.real else None

    @cached_property
    def total(self) -> int:
        """The number of prompts that are used.

        Raises:
            WrongValue: their supply has no end and the user names no number, or there are fewer.
        """
        if self.prompt_source is None:
            return 0
        there = self.prompt_source.count()
        if self.count is not None:
            whole("count", self.count, 1, 10**9)  # names have nine digits
        if there is not None and self.count is not None and self.count > there:
            raise WrongValue(f"`count` {self.count}: {shown(self.prompts, 100)} holds {there} prompts")
        total = there if self.count is None else self.count
        if total is None:
            raise WrongValue(f"{self.prompts} has prompts without end: say by `count` how many pictures to make")
        return total

    def check(self) -> None:
        """Raise a UserError for anything that is wrong with the names, numbers and prompts; nothing is loaded."""
        whole("shard", self.shard, 1, 100_000)
        if self.real_pairs is None and self.prompt_source is None:
            raise WrongValue("name `prompts`, a file or a source of prompts, or `real` photographs")
        if self.prompt_source is not None:
            source, total = self.picture_source, self.total
            if self.prompt_source.count() is not None:  # a user's; a stage vouches for its own
                source.check(self.prompt_source.prompts(range(total), self.seed))
        elif self.count is not None:
            raise WrongValue("`count` is of prompts, and none are named; leave it out, or name `prompts`")
        assert self.captioner_stage is not None
        assert self.rules is not None

    def shards(self) -> list[str]:
        """Return the names of all shards: those of generated pairs, then those of real ones."""
        made = [f"{i:06}" for i in range(-(-self.total // self.shard))]
        real = range(-(-len(self.real_pairs or ()) // self.shard))
        return [*made, *(f"{REAL}{i:06}" for i in real)]

    def numbers(self, shard: str) -> range:
        """Return the numbers of a shard's prompts or photographs."""
        first = int(shard.removeprefix(REAL)) * self.shard
        total = len(self.real_pairs or ()) if shard.startswith(REAL) else self.total
        return range(first, min(first + self.shard, total))

    def keys(self, shard: str) -> list[str]:
        """Return the names of a shard's pairs, which no two pairs of a folder share."""
        before = REAL if shard.startswith(REAL) else ""
        return [f"{before}{number:09}" for number in self.numbers(shard)]

    def pair_seed(self, key: str) -> int:
        """Return the seed of a pair: of its picture, and of whatever else is drawn for it."""
        return seed_of(self.seed, "data", key)

    def settings(self) -> dict[str, Any]:
        """Return all that the shards depend on but for the number of prompts, for JSON; weights are fetched."""
        return {
            "schema": VERSION,
            "prompts": settings_of(self.prompt_source) if self.prompt_source else None,
            "generator": settings_of(self.picture_source) if self.prompt_source else None,
            "captioner": settings_of(self.captioner_stage),
            "filters": [settings_of(rule.filter) | {"above": rule.least} for rule in self.rules],
            "real": self.real_pairs.settings() if self.real_pairs else None,
            "seed": self.seed,
            "shard": self.shard,
            "format": self.format,
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
        }

    def claim(self, settings: dict[str, Any]) -> None:
        """Write the settings into the folder; a folder that has others is refused, so that no two mix.

        Raises:
            WrongValue: the folder holds pairs of other settings.
        """
        text = json.dumps(settings, indent=1, ensure_ascii=False) + "\n"
        path = self.out / SETTINGS
        if is_file(path):
            there = _read(path)
            different = [name for name in settings if json.loads(text)[name] != there.get(name)]
            if different:
                raise WrongValue(
                    f"`out` {shown(self.out, 200)} holds pairs of other settings ({', '.join(different)}): choose "
                    "another `out`, or give the settings that its data.json names"
                )
        else:
            write_atomically(path, text.encode())


def _read(path: Path) -> dict[str, Any]:
    """Return the settings that a folder has; raise WrongValue if the file is damaged."""
    try:
        return outside_text.json_object(outside_text.read(path), str(path))
    except UserError as error:
        raise WrongValue(f"{error}; choose another `out`") from error


def batches(keys: list[str], size: int) -> Iterator[list[str]]:
    """Yield the keys in batches whose places do not depend on what is done already."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
