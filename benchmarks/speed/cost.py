"""The cost of a network without running it: its parameters, and its FLOPs counted on the meta device."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import lactok
from lactok import registry
from lactok.catalogue import file_of
from lactok.device import synchronize
from lactok.evaluation.protocol import Protocol
from lactok.metrics.registry import DistanceMetric, Features, find

FILE = "costs.json"  # in a package of adapters; a test of this module makes it anew


@dataclass(frozen=True)
class Cost:
    """The cost of one image; a multiply-add counts as two FLOPs.

    Attributes:
        parameters: of the encoder and the decoder; 0 for a reference row without a network.
        encode_flops: FLOPs of encoding; 0 for a tokenizer without ids.
        decode_flops: FLOPs of decoding; 0 for a tokenizer without ids.
        step_flops: FLOPs of one step of the decoder's sampler; those of decoding where there are no steps.
    """

    parameters: int
    encode_flops: float
    decode_flops: float
    step_flops: float = 0.0


def cost(name: str) -> Cost:
    """Return the cost of a tokenizer by name, from its structure alone, even where it is larger than the memory.

    Where a package of adapters has a file `costs.json`, what was counted stands there for tokenizers without options
    whose module has not changed since, see `lactok.catalogue`; counting takes up to half a minute for each.
    """
    if name in registry.TOKENIZERS.catalogued() and name not in registry.TOKENIZERS.registered:
        for package in registry.TOKENIZERS.packages():
            if name in (known := _known(file_of(package).with_name(FILE))):
                parameters, *flops = known[name]
                return Cost(int(parameters), *flops)
    return counted(name)


@lru_cache(maxsize=4)
def _known(path: Path) -> dict[str, list[float]]:
    """Return the costs in a file by name; nothing where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def counted(name: str) -> Cost:
    """Count what `cost` returns.

    A decoder of many steps is counted at its two smallest numbers of steps, because each further step costs the same.
    """
    spec = registry.tokenizer_spec(name)
    steps = spec.options.get("steps")
    if steps is None or len(steps.choices) == 1:
        return _count(name)
    low = int(steps.low or 1)
    few, more = low, low + 1
    if len(steps.choices) > 1:
        few, more = sorted(int(c) for c in steps.choices)[:2]
    cost_of_few, cost_of_more = _count(spec.named(steps=few)), _count(spec.named(steps=more))
    step_flops = (cost_of_more.decode_flops - cost_of_few.decode_flops) / (more - few)
    decode_flops = cost_of_few.decode_flops + step_flops * (spec.decode_steps - few)
    return Cost(cost_of_few.parameters, cost_of_few.encode_flops, decode_flops, step_flops)


@torch.no_grad()
def _count(name: str) -> Cost:
    """Count the cost of a tokenizer with the options of its name, whatever its number of steps."""
    tokenizer = lactok.build(name, "meta").requires_grad_(False)
    spec = tokenizer.spec
    parameters = sum(p.numel() for p in tokenizer.parameters())
    if spec.tokens is None or spec.input_size is None:
        return Cost(parameters, 0.0, 0.0)
    seeds = torch.zeros(1, dtype=torch.int64)
    image = torch.zeros(1, 3, spec.input_size, spec.input_size, device="meta")
    with FlopCounterMode(display=False) as encode_counter:
        ids = tokenizer._encode(image, seeds)
    with FlopCounterMode(display=False) as decode_counter:
        tokenizer._decode(ids, seeds)
    decode_flops = float(decode_counter.get_total_flops())
    return Cost(parameters, float(encode_counter.get_total_flops()), decode_flops, decode_flops)


def features_of(protocol: Protocol) -> dict[str, Features]:
    """Return the features (Inception, for one) that a protocol's distances of sets need of every image, by name."""
    metrics = map(find, protocol.score.metrics)
    return {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}


def scoring_flops(protocol: Protocol) -> float:
    """Return the FLOPs of scoring one reconstruction, as the metrics declare them; cheap ones declare none."""
    pixels = protocol.prepare.rough_pixels
    total = sum(find(key).flops_a_pixel for key in protocol.score.metrics) * pixels
    side = round(pixels**0.5)
    for features in features_of(protocol).values():
        total += features.flops * (1 if features.rows is None else features.rows(side, side))
    return total


def flops_a_second(device: str) -> float:
    """Measure for a fifth of a second how many FLOPs a second a convolution reaches on a device."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(device)
    x = torch.zeros(4, 64, 64, 64, device=device)
    flops = 2 * 64 * 64 * 9 * 64 * 64 * 4
    with torch.inference_mode():
        layer(x)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < 0.2:
            layer(x)
            synchronize(device)
            count += 1
    return count * flops / (time.perf_counter() - started)
