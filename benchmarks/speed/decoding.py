"""Times decoding of ids against the plain loop of the official code; `benchmarks.speed.generate` is the command."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed import reference_generate
from lactok import registry, weights
from lactok.device import exact_float32, synchronize
from lactok.errors import WrongValue
from lactok.nn import few_rows
from lactok.nn.gpt import GPT, GPTConfig
from lactok.nn.gpt_decoding import CAPTION, Decoder, Step
from lactok.nn.gpt_graphs import decoder_of
from lactok.nn.token_sampling import Sampling, draw, filtered, waiting_times

SHAPES = {  # of about 100 million parameters, and LaCTokGen's
    "100m": GPTConfig(width=768, layers=12, heads=12, hidden=2048),
    "xl": GPTConfig(),
}
SAMPLING = Sampling(guidance=2.0)


@dataclass(frozen=True)
class Inputs:
    """Captions and seeds.

    Attributes:
        features, mask: of captions of different lengths, padding at the front, (B, T, C) and (B, T).
        seeds: (B,) int64.
    """

    features: Tensor
    mask: Tensor
    seeds: Tensor

    @classmethod
    def random(cls, config: GPTConfig, batch: int, device: str) -> Inputs:
        """Return the inputs for a batch."""
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(batch, config.text_tokens, config.caption_width, generator=generator)
        begin = torch.randint(80, 112, (batch, 1), generator=generator)
        mask = (torch.arange(config.text_tokens) >= begin).int()
        features = features * mask[..., None]
        return cls(features.to(device), mask.to(device), torch.arange(batch))


@dataclass(frozen=True)
class Network:
    """A transformer with its inputs.

    Attributes:
        model: on the device, in float32, as it was built.
        inputs: returns the inputs for a batch of so many images.
        how: ids are drawn.
    """

    model: GPT
    inputs: Callable[[int], Inputs]
    how: Sampling


def of_shape(shape: str, device: str) -> Network:
    """Return a transformer with random weights, of a shape in `SHAPES`."""
    torch.manual_seed(0)
    config = SHAPES[shape]
    with torch.device(device):
        model = GPT(config).eval().requires_grad_(False)
    return Network(model, lambda batch: Inputs.random(config, batch, device), SAMPLING)


def of_generator(name: str, device: str) -> Network:
    """Return the transformer of a generator from captions to ids; its inputs are captions of composed scenes.

    Raises:
        UserError: there is no such generator, its weights are not here, or it has no such transformer.
    """
    from benchmarks.scenes.folder import caption_of

    entry = registry.GENERATORS.entry(name)
    generator: Any = entry.create()
    if not isinstance(getattr(generator, "model", None), GPT) or not hasattr(generator, "read_captions"):
        raise WrongValue(f"`generator` {name}: has no transformer from captions to ids; take lactokgen-tiny, say")
    generator.load_assets({asset.name: weights.load(asset) for asset in entry.spec.assets})
    generator.eval().requires_grad_(False)
    model: GPT = generator.model.to(device)

    def inputs(batch: int) -> Inputs:
        captions = [str(caption_of(0, number)["prompt"]) for number in range(batch)]
        features, mask = generator.read_captions(captions, torch.device(device))
        return Inputs(features, mask, torch.arange(batch))

    return Network(model, inputs, generator.how)


def plain(model: GPT, inputs: Inputs, how: Sampling) -> Tensor:
    """Return ids (B, image_tokens) by the plain loop."""

    def choose(step: Step) -> Tensor:
        waiting = waiting_times(inputs.seeds, model.config.codebook_size, step.number)
        return draw(filtered(step.logits, how), waiting.to(step.logits.device))

    return reference_generate.decode(model, inputs.features, inputs.mask, how.guidance, choose)


def fast(decoder: Decoder, inputs: Inputs, how: Sampling) -> Tensor:
    """Return ids (B, image_tokens) by the project's own decoding, the reading of captions included."""
    return decoder.read_and_generate(inputs.features, inputs.mask, inputs.seeds, how)


def predictions(decoder: Decoder, inputs: Inputs, ids: Tensor, how: Sampling) -> Tensor:
    """Return the guided logits (N, B, codes) where these ids (B, N) were chosen before."""
    found: list[Tensor] = []

    def choose(step: Step) -> Tensor:
        found.append(step.logits)
        return ids[:, step.number]

    caption = decoder.prefix(inputs.features, inputs.mask)
    without = decoder.without_caption(inputs.mask, len(ids))
    decoder.decode(caption, without, how.guidance, choose)
    return torch.stack(found)


def difference(exact: Tensor, other: Tensor) -> str:
    """Say how two predictions (N, B, codes) differ: share of equal arg maxima, mean divergence in nats."""
    same = (exact.argmax(-1) == other.argmax(-1)).double().mean()
    log = exact.log_softmax(-1)
    divergence = (log.exp() * (log - other.log_softmax(-1))).sum(-1)
    return f"arg max equal in {same:.2%}, KL {divergence.mean():.2e} nats (largest {divergence.max():.2e})"


def bytes_of_step(config: GPTConfig, rows: int, itemsize: int) -> float:
    """Return the bytes that a step must read: blocks, head, and the mean length of the cache."""
    block = 4 * config.width**2 + 3 * config.width * config.hidden
    weights = config.layers * block + config.width * config.codebook_size
    cache = rows * 2 * config.layers * config.width * (CAPTION + config.image_tokens / 2)
    return itemsize * (weights + cache)


class Timed:
    """Calls functions in turn and keeps the least time of each."""

    def __init__(self, device: str):
        self.device = device
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, function: Callable[[], Tensor]) -> Tensor:
        """Return what the function returns."""
        synchronize(self.device)
        begun = time.perf_counter()
        out = function()
        synchronize(self.device)
        seconds = time.perf_counter() - begun
        self.seconds[name] = min(seconds, self.seconds.get(name, seconds))
        return out


def measure(
    subject: Network, batch: int, device: str, repeats: int, compiled: bool
) -> tuple[list[list[str]], list[str]]:
    """Return rows of the table, and remarks, for a batch size."""
    model, config = subject.model, subject.model.config
    how = subject.how
    inputs = subject.inputs(batch)
    timed = Timed(device)
    models = {"float32": model, "bfloat16": copy.deepcopy(model)}
    models["bfloat16"].compute_in(torch.bfloat16)
    decoders = {}
    for name, network in models.items():
        ready = copy.deepcopy(network)
        few_rows.prepare(ready)
        decoders[name] = decoder_of(ready)
        if compiled:
            decoders[name].compile()
    ids: dict[str, Tensor] = {}
    read = {name: bytes_of_step(config, 2 * batch, size) for name, size in SIZES.items()}
    for _ in range(repeats + 1 if device != "cpu" or compiled else repeats):  # graphs are captured by the first
        for name in models:
            buffer = torch.ones(int(read[name]) // 4, device=device)
            timed(f"read {name}", lambda buffer=buffer: torch.stack([buffer.sum() for _ in range(READS)]))  # type: ignore[misc]
            ids[f"plain {name}"] = timed(f"plain {name}", lambda name=name: plain(models[name], inputs, how))  # type: ignore[misc]
            ids[f"own {name}"] = timed(f"own {name}", lambda name=name: fast(decoders[name], inputs, how))  # type: ignore[misc]
            timed(f"captions {name}", lambda name=name: decoders[name].prefix(inputs.features, inputs.mask).last)  # type: ignore[misc]
    exact = ids["plain float32"]
    equal = float((exact == ids["own float32"]).double().mean())
    remarks = [f"batch {batch}: ids of float32 equal to the plain loop's: {equal:.2%}"]
    logits, half = (predictions(decoders[name], inputs, exact, how) for name in ("float32", "bfloat16"))
    remarks.append(f"batch {batch}: bfloat16, {difference(logits, half)}")
    rows = []
    for name in models:
        slow, quick = timed.seconds[f"plain {name}"], timed.seconds[f"own {name}"]
        step = (quick - timed.seconds[f"captions {name}"]) / (config.image_tokens - 1)
        rate, reading = read[name] / step, READS * read[name] / timed.seconds[f"read {name}"]
        rows.append(
            [
                str(batch),
                name,
                f"{slow / batch:.2f}",
                f"{quick / batch:.2f}",
                f"{slow / quick:.2f}",
                f"{timed.seconds['plain float32'] / quick:.2f}",
                f"{step * 1e3:.1f} ms",
                f"{rate / 1e9:.1f} GB/s",
                f"{rate / reading:.0%}",
            ]
        )
    return rows, remarks


SIZES = {"float32": 4, "bfloat16": 2}
READS = 32  # sums of as many bytes as a step reads, which are the plain read loop
HEAD = [
    "batch",
    "dtype",
    "plain s/image",
    "own s/image",
    "plain / own",
    "plain float32 / own",
    "step",
    "read",
    "of a read loop",
]


def report(
    shape: str,
    batches: Sequence[int],
    device: str,
    repeats: int,
    threads: int | None,
    compiled: bool,
    generator: str | None = None,
) -> str:
    """Return the table and the remarks below it.

    Args:
        shape: of the network, a key of `SHAPES`, unless there is a generator.
        batches: numbers of images at a time.
        device: where both loops compute.
        repeats: times that each is run; the least time counts.
        threads: of the CPU; None for torch's own choice.
        compiled: whether the project's own step is compiled.
        generator: name of a generator whose transformer is timed, with its own weights.
    """
    from tabulate import tabulate

    from lactok.evaluation.writing import processor

    if threads is not None:
        torch.set_num_threads(threads)
    subject = of_shape(shape, device) if generator is None else of_generator(generator, device)
    config = subject.model.config
    rows: list[list[str]] = []
    remarks: list[str] = []
    with torch.inference_mode(), exact_float32():
        for batch in batches:
            found = measure(subject, batch, device, repeats, compiled)
            rows += found[0]
            remarks += found[1]
    parameters = sum(p.numel() for p in subject.model.parameters())
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    title = (
        f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}; {generator or 'random weights'}, "
        f"{parameters / 1e6:.3g} M parameters, {config.image_tokens} ids, guidance {subject.how.guidance:g}"
    )
    table = tabulate(rows, HEAD, tablefmt="pipe", disable_numparse=True)
    return "\n".join([title, "", table, "", *remarks])
