"""Cosmos' discrete image tokenizers (NVIDIA 2025), DI8x8 and DI16x16, and their variants for low resolutions.

The network is `lactok.nn.cosmos.Cosmos`. The published files are TorchScript; only their tensors are read. The authors
compute in bfloat16, which changes about a tenth of the ids: `--dtype bfloat16` does so too.
"""

from __future__ import annotations

import math

from torch import Tensor

from lactok.nn.cosmos import Cosmos, CosmosConfig
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer

CONFIGS = {
    "cosmos-di16x16": CosmosConfig(),
    "cosmos-di8x8": CosmosConfig(downsampling=8),
    "cosmos-di16x16-lowres": CosmosConfig(patch=2),
    "cosmos-di8x8-lowres": CosmosConfig(downsampling=8, patch=2),
}
SIDE = 256  # pixels, unless the option `input` says otherwise


def _spec(name: str, repository: str, megabytes: int) -> TokenizerSpec:
    """Return the spec of one of `CONFIGS`; `megabytes` is the approximate size of its file in bfloat16."""
    config = CONFIGS[name]
    source = Hub(f"nvidia/{repository}", "autoencoder.jit")
    asset = Asset(name, "NVIDIA Open Model License", (source,), "lactok.nn.cosmos:convert", megabytes * 10**6)
    return TokenizerSpec(
        name=name,
        family="cosmos",
        tokens=(SIDE // config.downsampling) ** 2,
        codebook_size=math.prod(config.levels),
        input_size=SIDE,
        output_size=SIDE,
        license=asset.license,
        options={"input": Option(SIDE, "side of the image in pixels, in and out", low=64, high=4096, multiple=16)},
        paper="NVIDIA 2025, arXiv 2501.03575",
        assets=(asset,),
        note="its file was not opened here; the authors mean it for images of more than 512 px",
    )


@register(
    _spec("cosmos-di16x16", "Cosmos-0.1-Tokenizer-DI16x16", 168),
    config=CONFIGS["cosmos-di16x16"],
)
@register(
    _spec("cosmos-di8x8", "Cosmos-0.1-Tokenizer-DI8x8", 159),
    config=CONFIGS["cosmos-di8x8"],
)
@register(
    _spec("cosmos-di16x16-lowres", "Cosmos-1.0-Tokenizer-DI16x16-LowRes", 174),
    config=CONFIGS["cosmos-di16x16-lowres"],
)
@register(
    _spec("cosmos-di8x8-lowres", "Cosmos-1.0-Tokenizer-DI8x8-LowRes", 168),
    config=CONFIGS["cosmos-di8x8-lowres"],
)
class CosmosTokenizer(Tokenizer):
    """A discrete image tokenizer of Cosmos; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: CosmosConfig):
        super().__init__(spec)
        self.model = Cosmos(config)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1).flatten(1)  # (B, h*w), row by row

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        side = self.spec.input_size // self.model.config.downsampling  # type: ignore[operator]
        return (self.model.decode(ids.unflatten(1, (side, side))) + 1) / 2
