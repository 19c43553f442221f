"""What a network costs before it is run: parameters, and FLOPs counted on the meta device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

import lactok
from lactok import registry
from lactok.device import synchronize
from lactok.evaluation.protocol import Protocol
from lactok.metrics.registry import DistanceMetric, Features, find


@dataclass(frozen=True)
class Cost:
    """Parameters and FLOPs of one image (two a multiply-add); zero for rows without a network or ids.

    `step_flops`: one step of the decoder's sampler, or all of a decoder without steps.
    """

    parameters: int
    encode_flops: float
    decode_flops: float
    step_flops: float = 0.0


def cost(name: str) -> Cost:
    """Cost of a tokenizer by name, from its structure alone; works for networks larger than the memory.

    A decoder of many steps is counted at its two smallest numbers of steps: each further one costs the same.
    """
    spec = registry.tokenizer_spec(name)
    steps = spec.options.get("steps")
    if steps is None:
        return _count(name)
    low = int(steps.low or 1)
    first, second = sorted(int(c) for c in steps.choices)[:2] if len(steps.choices) > 1 else (low, low + 1)
    one, two = (_count(spec.named(steps=n)) for n in (first, second))
    slope = (two.decode_flops - one.decode_flops) / (second - first)
    decode = one.decode_flops + slope * (spec.decode_steps - first)
    return Cost(one.parameters, one.encode_flops, decode, slope)


@torch.no_grad()
def _count(name: str) -> Cost:
    tokenizer = lactok.build(name, "meta").requires_grad_(False)
    spec = tokenizer.spec
    parameters = sum(p.numel() for p in tokenizer.parameters())
    if spec.tokens is None or spec.input_size is None:
        return Cost(parameters, 0.0, 0.0)
    seeds = torch.zeros(1, dtype=torch.int64)
    image = torch.zeros(1, 3, spec.input_size, spec.input_size, device="meta")
    with FlopCounterMode(display=False) as encode:
        ids = tokenizer._encode(image, seeds)
    with FlopCounterMode(display=False) as decode:
        tokenizer._decode(ids, seeds)
    flops = float(decode.get_total_flops())
    return Cost(parameters, float(encode.get_total_flops()), flops, flops)


def features_of(protocol: Protocol) -> dict[str, Features]:
    """What is kept of every image for the distances of a protocol, by name."""
    metrics = map(find, protocol.score.metrics)
    return {m.features.name: m.features for m in metrics if isinstance(m, DistanceMetric)}


def scoring_flops(protocol: Protocol) -> float:
    """FLOPs of scoring one reconstruction, as the metrics declare them; those that are cheap declare none."""
    pixels = protocol.prepare.resolution**2
    compared = sum(find(key).flops_a_pixel for key in protocol.score.metrics) * pixels
    return compared + sum(features.flops for features in features_of(protocol).values())


def flops_a_second(device: str) -> float:
    """This machine's convolution rate, from a fifth of a second of it."""
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
