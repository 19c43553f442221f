"""The steps of a construction, one after the other over all shards, so that one stage's networks are loaded at a time.

A step goes through the pairs of a shard in batches and stores each batch; one whose pairs are all done is passed over.
`start` and `work` are what a process does, whoever runs it: this one, worker processes, or actors of Ray.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lactok.data import shards
from lactok.data.construction import REAL, Construction, batches
from lactok.data.filtering import CAPTIONS, PICTURES, WRITTEN
from lactok.data.stages import Filter, Stage
from lactok.data.work import State, Work
from lactok.errors import UserError, disk_errors
from lactok.evaluation.timing import Timer
from lactok.images import UnreadableImage

# encoder settings of each format: PNG holds the generator's very pixels, and so does lossless WebP
ENCODINGS: dict[str, tuple[str, dict[str, object]]] = {
    "png": ("PNG", {"optimize": False}),
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "webp": ("WEBP", {"lossless": True, "exact": True}),
}


def steps(construction: Construction) -> list[str]:
    """Return the names of the steps; a filter's step has its name."""
    return [PICTURES, CAPTIONS, *(rule.name for rule in construction.rules), WRITTEN]


def stage_of(construction: Construction, step: str) -> Stage | None:
    """Return the stage that does a step, None for the writing of shards, and for real photographs as they are."""
    if step == WRITTEN or (step == PICTURES and construction.prompt_source is None):
        return None
    if step == PICTURES:
        return construction.picture_source
    if step == CAPTIONS:
        return construction.captioner_stage
    return next(rule.filter for rule in construction.rules if rule.name == step)


@dataclass
class _Process:
    """What this process works on: a construction, one of its steps, and whether that step's networks are loaded."""

    construction: Construction
    step: str
    stage: Stage | None
    loaded: bool = False

    def ready(self) -> Stage:
        """Return the stage with its networks, which are loaded when the first pair needs them."""
        assert self.stage is not None
        if not self.loaded:
            self.stage.load(self.construction.device, self.construction.dtype)
            self.loaded = True
        return self.stage


_now: list[_Process] = []


def start(construction: Construction, step: str) -> None:
    """Make this process ready for a step."""
    if construction.threads:
        import torch

        torch.set_num_threads(construction.threads)
    _now[:] = [_Process(construction, step, stage_of(construction, step))]


def end() -> None:
    """Forget the step that this process has worked on, and with it the networks."""
    for process in _now:
        process.construction.forget_stages()
        if process.loaded and process.construction.device.startswith("cuda"):
            import torch

            process.stage = None
            torch.cuda.empty_cache()
    _now.clear()


def work(shard: str) -> Timer:
    """Do the step on a shard, and return the time that it took and for how many pairs.

    Raises:
        UserError: a stage failed in a way that the user can mend, or the disk is full.
    """
    process = _now[0]
    construction, step = process.construction, process.step
    timer = Timer(construction.device)
    with disk_errors(construction.out):
        if step == WRITTEN:
            with timer.stage(step, len(construction.numbers(shard))):
                shards.write(construction.out, shard, construction.keys(shard), construction.rules)
        elif step == PICTURES:
            shards.unpack(construction.out, shard)
            (_real if shard.startswith(REAL) else _made)(process, shard, timer)
        else:
            _described(process, shard, timer)
    return timer


def _made(process: _Process, shard: str, timer: Timer) -> None:
    """Make the pictures of a shard."""
    construction, work = process.construction, Work(process.construction.out, shard)
    prompt_source = construction.prompt_source
    assert prompt_source is not None
    number_of = dict(zip(construction.keys(shard), construction.numbers(shard), strict=True))
    kind, options = ENCODINGS[construction.format]
    for batch in batches(list(number_of), construction.batch):
        if all(work.state(key) is not None for key in batch):
            continue
        source = process.ready()
        prompts = prompt_source.prompts([number_of[key] for key in batch], construction.seed)
        seeds = [construction.pair_seed(key) for key in batch]
        with timer.stage(process.step, len(batch)):
            made = source.make(prompts, seeds)  # type: ignore[attr-defined]
        _same_number(source, len(made), len(batch))
        for key, prompt, seed, one in zip(batch, prompts, seeds, made, strict=True):
            data = io.BytesIO()
            one.image.save(data, kind, **options)
            name = work.save_picture(key, f".{construction.format}", data.getvalue())
            work.save(key, State(prompt, name, seed, facts=dict(one.facts)))


def _real(process: _Process, shard: str, timer: Timer) -> None:
    """Take the photographs of a shard as they are; one that cannot be read gets no picture and a reason."""
    construction, work = process.construction, Work(process.construction.out, shard)
    real = construction.real_pairs
    assert real is not None
    for key, number in zip(construction.keys(shard), construction.numbers(shard), strict=True):
        if work.state(key) is not None:
            continue
        seed = construction.pair_seed(key)
        with timer.stage("real photographs", 1):
            try:
                name, caption, data, ending = real.read(number)
                picture = work.save_picture(key, ending, data)
                work.save(key, State(caption, picture, seed, name))
            except UnreadableImage as error:
                work.save(key, State("", "", seed, real.name(number), fault=str(error)))


def _described(process: _Process, shard: str, timer: Timer) -> None:
    """Let the captioner write captions, or a filter score, the pairs of a shard that have a picture and a caption."""
    construction, work = process.construction, Work(process.construction.out, shard)
    step, scoring = process.step, isinstance(process.stage, Filter)

    def is_done(state: State) -> bool:
        return step in state.scores if scoring else state.caption is not None

    states = {key: work.state(key) for key in construction.keys(shard)}
    wanted = {key: s for key, s in states.items() if s is not None and s.picture and (s.caption or not scoring)}
    for batch in batches(list(wanted), construction.batch):
        if all(is_done(wanted[key]) for key in batch):
            continue
        stage = process.ready()
        pairs = [work.pair(key, wanted[key]) for key in batch]
        with timer.stage(step, len(batch)):
            method: Callable[..., Sequence[object]] = stage.scores if scoring else stage.captions  # type: ignore[attr-defined]
            found = method(pairs)
        _same_number(stage, len(found), len(batch))
        for key, result in zip(batch, found, strict=True):
            if scoring:
                # as it is stored, so that a stored score decides as the computed one did
                wanted[key].scores[step] = (float(f"{result.value:.6g}"), result.why)  # type: ignore[attr-defined]
            else:
                wanted[key].caption = " ".join(str(result).split())
            work.save(key, wanted[key])


def _same_number(stage: Stage, found: int, asked: int) -> None:
    """Raise UserError where a stage, a user's own perhaps, returns another number of results than it was asked for."""
    if found != asked:
        raise UserError(f"{stage.kind} {stage.spec.name} returned {found} results for {asked} pairs")
