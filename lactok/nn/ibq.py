"""IBQ, index backpropagation quantization: a VQGAN whose codes are chosen by their dot product with the features.

Source: TencentARC/SEED-Voken `src/IBQ/models/ibqgan.py` (Shi et al. 2024, arXiv 2412.02692). The network is that of
taming-transformers, name for name, with twice the residual blocks. What is called index backpropagation is training
alone: encoding and decoding take plain rows of the codebook.
"""

from __future__ import annotations

from torch import Tensor

from lactok.nn.quantize import DotProductQuantizer
from lactok.nn.vqgan import VQConfig, VQModel, from_taming
from lactok.weights.averages import averaged


class IBQ(VQModel):
    """Encoder, codebook and decoder; `config` is the shape, of which `l2_norm` and `usage_buffer` are not looked at."""

    def __init__(self, config: VQConfig):
        super().__init__(config)
        self.quantize = DotProductQuantizer(config.codebook_size, config.codebook_dim)


def from_voken(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's tensors of a checkpoint of SEED-Voken: the averaged weights, which its evaluation takes."""
    return from_taming(averaged(tensors))
