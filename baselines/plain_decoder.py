"""The control of the small LaCTok: a plain decoder of the same ids, trained by the same loss, without diffusion.

The network is `lactok.nn.plain_decoder.PlainDecoder`; it is no published tokenizer and stands in no list of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lactok import weights
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.plain_decoder import FROZEN, PlainDecoder, PlainDecoderShape
from lactok.nn.vqgan import VQConfig
from lactok.registry import register
from lactok.specs import Asset, TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

ENCODER = bundled_shape("llamagen-vq4-tiny", "model", VQConfig)
DECODER = bundled_shape("plain-decoder-tiny", "model", PlainDecoderShape)
INPUT_SIZE = 64
SIDE = INPUT_SIZE // ENCODER.downsampling  # of the map of ids


@register(
    TokenizerSpec(
        name="plain-decoder-tiny",
        family="plain-decoder",
        tokens=SIDE**2,
        codebook_size=ENCODER.codebook_size,
        input_size=INPUT_SIZE,
        output_size=SIDE * DECODER.config().downsampling,
        license="MIT",
        resample="bilinear",
        assets=(Asset("llamagen-vq4-tiny", "MIT"), Asset("plain-decoder-tiny", "MIT")),
        taught_by=(LPIPS_BACKBONES["alex"].name,),
        note="trained here on 4,419 photographs, the control of lactok-h-tiny",
    ),
    listed=False,
)
class PlainDecoderTokenizer(Tokenizer):
    """The ids of `llamagen-vq4-tiny`, decoded to the size of the small LaCTok's images."""

    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec)
        self.model = PlainDecoder(ENCODER, DECODER)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load encoder and codebook from the VQ tokenizer's file, and the decoder from its own."""
        tokenizer, decoder = assets.values()
        frozen = {k: v for k, v in tokenizer.items() if k.startswith(tuple(f"{name}." for name in FROZEN))}
        weights.load_strict(self.model, frozen | dict(decoder), self.spec.name)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1).flatten(1)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return (self.model.decode(ids.unflatten(1, (SIDE, SIDE))) + 1) / 2
