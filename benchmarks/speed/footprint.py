"""How much memory a tokenizer or generator takes, computed without taking it.

The network is built on the meta device, where tensors have shapes and no memory, and runs there once for each phase of
its work. The peak of a phase is the bytes of the weights that are on the device in it, plus the most that the tensors
of its operations take at once, in float32; keys and values that a transformer keeps are among them. Attention counts as
the fused kernels compute it, without the matrix of all pairs. Not counted is what a kernel takes and gives back inside
one operation, what the framework and the allocator hold, and what an adapter changes once its weights are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.allocated import nbytes, peak_of
from lactok import registry
from lactok.errors import UserError
from lactok.extras import extras_named
from lactok.nn import hart, show_o, titok_generator
from lactok.nn.gpt import GPT
from lactok.nn.gpt_decoding import Decoder, Step
from lactok.tokenizer import Tokenizer

IDS = 3  # ids after which a transformer with a cache is stopped: the cache is made whole before the first


@dataclass(frozen=True)
class Phase:
    """A part of the work.

    Attributes:
        name: what is done.
        weights: bytes of the weights on the device in float32.
        activations: the most bytes that tensors take beside them.
    """

    name: str
    weights: int
    activations: int

    @property
    def peak(self) -> int:
        """The most bytes at once."""
        return self.weights + self.activations


@dataclass(frozen=True)
class Memory:
    """What a model takes.

    Attributes:
        name: the model.
        parameters: of all its networks.
        phases: the parts of its work, in order.
        note: what is not counted.
    """

    name: str
    parameters: int
    phases: tuple[Phase, ...]
    note: str = ""

    @property
    def peak(self) -> Phase:
        """The phase that takes the most."""
        return max(self.phases, key=lambda phase: phase.peak)


class _Enough(Exception):
    """Ends a generation whose further steps take no more memory."""


def weights_of(*modules: nn.Module) -> int:
    """Return the bytes of the parameters and buffers of some networks."""
    return nbytes(t for module in modules for t in (*module.parameters(), *module.buffers()))


def tokenizer_on_meta(name: str) -> Tokenizer:
    """Return a tokenizer without memory, with the smallest number of steps: more steps take as much memory."""
    spec = registry.tokenizer_spec(name)
    if "steps" in spec.options:
        steps = spec.options["steps"]
        name = spec.named(steps=int(min(steps.choices) if steps.choices else steps.low or 1))
    return registry.build(name, "meta").requires_grad_(False).to("meta")


def tokenizer_memory(name: str, batch: int) -> Memory:
    """Return what a tokenizer takes for a batch of images."""
    tokenizer = tokenizer_on_meta(name)
    spec, weights = tokenizer.spec, weights_of(tokenizer)
    parameters = sum(p.numel() for p in tokenizer.parameters())
    if spec.tokens is None or spec.input_size is None or not parameters:
        raise UserError("no network that makes ids")
    image = torch.zeros(batch, 3, spec.input_size, spec.input_size, device="meta")
    ids = torch.zeros(batch, spec.tokens, dtype=torch.int64, device="meta")
    seeds = torch.zeros(batch, dtype=torch.int64)
    phases = (
        Phase("encode", weights, peak_of(lambda: tokenizer._encode(image, seeds)) + nbytes([image])),
        Phase("decode", weights, peak_of(lambda: tokenizer._decode(ids, seeds)) + nbytes([ids])),
    )
    return Memory(registry.tokenizer_spec(name).name, parameters, phases)


def generator_memory(name: str, batch: int) -> Memory:
    """Return what a generator takes for a batch of images.

    The transformer and the tokenizer are on the device all the time, a text encoder of captions while it computes.
    """
    entry = registry.GENERATORS.entry(name)
    with extras_named(("networks",), name), torch.device("meta"):
        generator: Any = entry.create()
    networks = [m for m in generator.children() if any(True for _ in m.parameters())]
    if not networks:
        raise UserError("its library builds its network from its files")
    generator.eval().requires_grad_(False).to("meta")
    text = getattr(generator, "text", None)
    resident = [m for m in networks if m is not text]
    if generator.spec.tokenizer is not None:
        resident.append(tokenizer_on_meta(generator.spec.tokenizer))
    kept, phases = weights_of(*resident), []
    for phase, networks_of_it, call in phases_of(generator.model, generator, resident[-1], batch):
        phases.append(Phase(phase, kept + weights_of(*networks_of_it), peak_of(call)))
    if generator.spec.tokenizer is not None:
        tokenizer, seeds = resident[-1], torch.zeros(batch, dtype=torch.int64)
        ids = torch.zeros(batch, tokenizer.spec.tokens, dtype=torch.int64, device="meta")
        phases.append(Phase("pixels", kept, peak_of(lambda: tokenizer._decode(ids, seeds))))
    parameters = sum(p.numel() for m in [*resident, *([text] if text is not None else [])] for p in m.parameters())
    note = "" if text is not None or not isinstance(generator.model, hart.HART) else HART_NOTE
    return Memory(generator.spec.name, parameters, tuple(phases), note)


HART_NOTE = "without its text encoder (Qwen2-VL-1.5B), whose shape stands in its files"
Phases = list[tuple[str, tuple[nn.Module, ...], Callable[[], object]]]


@singledispatch
def phases_of(model: nn.Module, generator: Any, tokenizer: nn.Module, batch: int) -> Phases:
    """Return the phases before the pixels: name, the networks that are on the device for it alone, and what to run.

    Args:
        model: the transformer.
        generator: the generator that it belongs to.
        tokenizer: the tokenizer whose ids it predicts.
        batch: number of images.
    """
    raise UserError(f"no phases of {type(model).__name__} are known")


def zeros(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor without memory."""
    return torch.zeros(tuple(shape), dtype=dtype, device="meta")


def draws(batch: int) -> Callable[[str, tuple[int, ...]], Tensor]:
    """Return a function that gives draws without memory in place of random numbers."""
    return lambda use, shape: zeros((batch, *shape))


@phases_of.register
def _(model: GPT, generator: Any, tokenizer: nn.Module, batch: int) -> Phases:
    config = model.config
    ids, features = zeros((batch, config.text_tokens), torch.int64), (batch, config.text_tokens, config.caption_width)

    def some_ids() -> None:
        def choose(step: Step) -> Tensor:
            _ = step.logits
            if step.number + 1 == IDS:
                raise _Enough
            return zeros((batch,), torch.int64)

        with suppress(_Enough):
            decoder = Decoder(model)
            without = decoder.without_caption(None, batch) if generator.how.guidance > 1 else None
            decoder.decode(decoder.prefix(zeros(features), None), without, generator.how.guidance, choose)

    return [("text", (generator.text,), lambda: generator.text(ids, ids)), ("ids", (), some_ids)]


def _masked(model: nn.Module, generator: Any, tokenizer: nn.Module, batch: int) -> Phases:
    config, how = generator.config, replace(generator.how, steps=2)
    labels = zeros((batch,), torch.int64)
    return [("ids", (), lambda: titok_generator.generate(model, config, labels, draws(batch), how))]


for network in (titok_generator.Bert, titok_generator.UViT):
    phases_of.register(network, _masked)


@phases_of.register
def _(model: show_o.ShowO, generator: Any, tokenizer: nn.Module, batch: int) -> Phases:
    empty, how = show_o.prompt_ids([], model.config).to("meta"), replace(generator.how, steps=2)
    prompts = empty.expand(batch, -1).clone()
    return [("ids", (), lambda: show_o.generate(model, prompts, empty, draws(batch), how))]


@phases_of.register
def _(model: hart.HART, generator: Any, tokenizer: nn.Module, batch: int) -> Phases:
    config, coder = model.config, generator.autoencoder
    context = zeros((batch, config.context_tokens, config.context_width))
    positions = zeros((batch, config.context_tokens), torch.int64)
    side = config.sides[-1]

    def ids() -> Tensor:
        return hart.generate(model, coder, context, positions, draws(batch), generator.how)

    return [
        ("ids", (), ids),
        ("pixels", (), lambda: coder.decode_features(zeros((batch, config.code_dim, side, side)))),
    ]
