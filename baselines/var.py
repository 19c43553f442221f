"""VAR's multi-scale VQVAE (Tian et al. 2024): ids of ten scales, from 1x1 to the full size, in one row.

Source: FoundationVision/VAR `models/vqvae.py`; the network is `lactok.nn.multiscale_vq.MultiScaleVQ`. The file was not
opened here: names and shapes are those of the official class. The authors publish no evaluation of reconstructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ
from lactok.nn.recognise import load_strict
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer

COUNTER = "quantize.ema_vocab_hit_SV"
# side of the image in pixels -> sides of the maps of ids, which do not grow in proportion
SIDES = {256: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), 512: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32)}
LEVELS = {size: tuple(side**2 for side in sides) for size, sides in SIDES.items()}


@register(
    TokenizerSpec(
        "var-vqvae",
        "var",
        tokens=sum(LEVELS[256]),
        codebook_size=4096,
        input_size=256,
        output_size=256,
        license="MIT",
        resample="lanczos-aa",
        options={"input": Option(256, "side of the image in pixels, in and out", choices=tuple(SIDES))},
        paper="Tian et al. 2024, arXiv 2404.02905",
        assets=(Asset("var-vqvae", "MIT", (Hub("FoundationVision/var", "vae_ch160v4096z32.pth"),), size=436_000_000),),
        levels=LEVELS[256],
        levels_of_input=LEVELS,
    )
)
class VARTokenizer(Tokenizer):
    """VAR's tokenizer.

    Args:
        spec: what it is.
        config: shape of its network, by default the published one with the scales of the spec's input size.
    """

    def __init__(self, spec: TokenizerSpec, config: MultiScaleConfig | None = None):
        super().__init__(spec)
        self.model = MultiScaleVQ(config or replace(MultiScaleConfig(), sides=SIDES[spec.input_size or 256]))

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights; the counter of used codes, a row for each scale of some training, is read by nothing."""
        (tensors,) = assets.values()
        counter = torch.zeros(self.model.quantize.ema_vocab_hit_SV.shape)
        given = {name: counter if name.endswith(COUNTER) else tensor for name, tensor in tensors.items()}
        load_strict(self.model, given, self.spec.name)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1)  # (B, 680), the smallest scale first

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return (self.model.decode(ids) + 1) / 2
