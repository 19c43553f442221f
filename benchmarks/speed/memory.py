"""`python -m benchmarks.speed.memory`: how much memory a tokenizer or generator takes, without taking it.

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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.allocated import nbytes, peak_of
from benchmarks.speed.measure import write_numbers
from lactok import registry
from lactok.command import Parser, command
from lactok.errors import UserError, check_output_file, integer, whole
from lactok.evaluation.config import split_names
from lactok.extras import extras_named
from lactok.nn import hart, show_o, titok_generator
from lactok.nn.gpt import GPT, Step
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
            model.decode(zeros(features), None, generator.how.guidance, choose)

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


def names_of(text: str, all_names: Sequence[str]) -> list[str]:
    """Return the names that an argument means; "all" are those of the published sizes."""
    return [n for n in all_names if not n.endswith("-tiny")] if text == "all" else split_names(text)


def table(rows: Sequence[Memory], batch: int) -> str:
    """Return a Markdown table."""
    from tabulate import tabulate

    head = ["model", "parameters", "weights, float32", "weights, bfloat16", "peak by phase, float32", "peak"]
    body = []
    for row in rows:
        parts = ", ".join(f"{p.name} {p.peak / 1e9:.2f}" for p in row.phases)
        size = f"{4 * row.parameters / 1e9:.2f} GB", f"{2 * row.parameters / 1e9:.2f} GB"
        body.append([row.name, f"{row.parameters / 1e6:.1f} M", *size, parts, f"{row.peak.peak / 1e9:.2f} GB"])
    title = f"inference of {batch} image{'s' if batch > 1 else ''} at a time; computed on the meta device, not measured"
    notes = "".join(f"\n{row.name}: {row.note}" for row in rows if row.note)
    return f"{title}\n\n{tabulate(body, head, tablefmt='pipe', disable_numparse=True)}{notes}"


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed.memory",
        description="Parameters, weights and peak memory of tokenizers and generators, computed without taking any.",
    )
    p.add_argument("--tokenizers", help="names separated by spaces or commas, options after @, or all (full sizes)")
    p.add_argument("--generators", help="as for tokenizers; with neither, all of both")
    p.add_argument("--batch-size", type=integer, default=1, help="images at a time (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 3 if a model that was asked for by name could not be computed."""
    args = parser().parse_args(argv)
    whole("batch_size", args.batch_size, 1, 65536)
    check_output_file("json", args.json, ".json")
    neither = args.tokenizers is None and args.generators is None
    asked = [
        (
            tokenizer_memory,
            registry.TOKENIZERS,
            args.tokenizers or ("all" if neither else ""),
            registry.list_tokenizers,
        ),
        (
            generator_memory,
            registry.GENERATORS,
            args.generators or ("all" if neither else ""),
            registry.list_generators,
        ),
    ]
    rows, missing = [], []
    jobs = [(of, name, text) for of, kind, text, names in asked if text for name in names_of(text, names())]
    for of, name, _ in jobs:
        (registry.TOKENIZERS if of is tokenizer_memory else registry.GENERATORS).check_name(name)
    for of, name, text in jobs:
        try:
            rows.append(of(name, args.batch_size))
        except UserError as error:
            missing.append((name, str(error), text != "all"))
    print(table(rows, args.batch_size))
    for name, reason, _ in missing:
        print(f"not computed: {name}: {reason}")
    phases = [[{"phase": p.name, "weights": p.weights, "activations": p.activations} for p in r.phases] for r in rows]
    numbers = [
        {"name": r.name, "parameters": r.parameters, "peak": r.peak.peak, "phases": p}
        for r, p in zip(rows, phases, strict=True)
    ]
    write_numbers(numbers, args.json)
    return 3 if any(named for _, _, named in missing) else 0


if __name__ == "__main__":
    main()
