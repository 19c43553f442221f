"""Adapters with small networks of random weights, under their own names and read from their own files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lactok import registry
from lactok.specs import TokenizerSpec


def randomised(network: nn.Module, last: str = "", spread: float = 1.0, seed: int = 0) -> Any:
    """The network in eval mode, with weights by which photographs become different codes and visible pictures.

    Args:
        network: the network.
        last: name of its last layer, whose weights are multiplied by `spread`, so that pictures are in the range.
        spread: as said.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
            else:
                around = float("norm" in name and name.endswith("weight"))
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator) + around)
        if last:
            network.get_submodule(last).weight.mul_(spread)
    return network.eval().requires_grad_(False)


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    name: str,
    network: nn.Module,
    config_json: dict[str, Any] | None = None,
    side: int = 64,
    changes: dict[str, Any] | None = None,
    **arguments: Any,
) -> TokenizerSpec:
    """Let `name` mean a small network, whose weights lie in a folder where weights are looked for first.

    Args:
        folder: the folder; a `config.json` goes beside the weights as the second asset.
        config_json: the content of that `config.json`, for adapters that read one.
        side: of its images in pixels, to which the number of ids is fitted.
        changes: further attributes of the spec that are the small network's.
        arguments: the small network's, of the adapter's class.

    Returns:
        The spec that the name has now.
    """
    entry = registry.TOKENIZERS.entry(name)
    options = dict(entry.spec.options)
    if "input" in options:
        options["input"] = replace(options["input"], default=side, low=1, choices=(), multiple=1)
    given = entry.spec
    tokens = None if given.tokens is None else given.tokens * side**2 // given.input_size**2
    sizes: dict[str, Any] = {"tokens": tokens, "input_size": side, "output_size": side}
    spec = replace(given, options=options, values={}, **sizes | (changes or {}))
    monkeypatch.setitem(registry.TOKENIZERS.registered, name, registry.Entry(spec, entry.factory, arguments))
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))
    assets = spec.assets
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / f"{assets[0].name}.safetensors")
    if config_json is not None:
        (folder / f"{assets[1].name}.json").write_text(json.dumps(config_json))
    return spec


def photographs(side: int) -> torch.Tensor:
    """Three photographs (3, 3, side, side) float32 in [0, 1]."""
    from skimage import data

    found = [data.astronaut(), data.coffee()[:400, :400], data.chelsea()[:300, :300]]
    batch = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in found]
    return torch.cat([torch.nn.functional.interpolate(p, (side, side), mode="bilinear", antialias=True) for p in batch])
