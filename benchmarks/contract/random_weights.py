"""Adapters with random weights, so that the contract is tried at a network's own size without its file."""

from __future__ import annotations

import torch
from torch import nn

import lactok
from lactok.tokenizer import Tokenizer


def load_random(name: str, device: str = "cpu") -> Tokenizer:
    """Return what `lactok.load` does, but with random weights: the same ones each time, whatever the options.

    Args:
        name: as for `lactok.load`.
        device: where it computes.
    """
    made = lactok.build(name, "cpu").requires_grad_(False)
    randomise(made)
    made.place(device, torch.float32, False, False)
    return made


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Give a network weights by which different photographs have different features that neither vanish nor grow.

    Matrices and kernels are normal with the variance 1 / fan-in; of what has one value a channel, weights (those of
    norms) are about 1 and all others about 0. Buffers stay what the constructor made them.

    Args:
        network: the network, on the CPU.
        seed: of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.normal_(float(name.rpartition(".")[2] == "weight"), 0.1, generator=generator)
