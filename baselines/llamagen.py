"""LlamaGen's VQ tokenizers (Sun et al. 2024), and a small one of the same kind that was trained with this project.

Source: FoundationVision/LlamaGen `tokenizer/tokenizer_image/`; the network is `lactok.nn.vqgan.VQModel`.
"""

from __future__ import annotations

from torch import Tensor

from baselines.id_map import MapTokenizer
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, Resample, TokenizerSpec
from lactok.weights.metadata import bundled_shape
from lactok.weights.wrappers import stored

PAPER = "Sun et al. 2024, arXiv 2406.06525"


def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's tensors of an official file, which may hold several sets of them.

    The official code prefers "ema" to "model" and "model" to "state_dict"; a file without any of them is the network.
    """
    return stored(tensors, ("ema", "model", "state_dict"))


def _spec(
    name: str,
    asset: Asset,
    config: VQConfig,
    note: str = "",
    inputs: tuple[int, ...] = (256, 384, 512),
    resample: Resample = "bicubic-aa",
    lpips: str = "alex",
) -> TokenizerSpec:
    """Return the spec of a VQ tokenizer.

    Args:
        name, asset, note, resample: as of `TokenizerSpec`; `asset` is its weights.
        config: the shape of the network.
        inputs: the sides of images that it takes, the usual one first.
        lpips: the network of the LPIPS that it was trained by.
    """
    size = inputs[0]
    side = size // config.downsampling  # of the map of ids
    return TokenizerSpec(
        name=name,
        family="llamagen",
        tokens=side * side,
        codebook_size=config.codebook_size,
        input_size=size,
        output_size=size,
        license=asset.license,
        options={"input": Option(size, "side of the image in pixels, in and out", choices=tuple(sorted(inputs)))},
        resample=resample,
        paper=PAPER,
        assets=(asset,),
        note=note,
        taught_by=(LPIPS_BACKBONES[lpips].name,),
    )


VQ16 = VQConfig()
VQ8 = VQConfig(channel_mult=(1, 2, 2, 4))
TINY = bundled_shape("llamagen-vq16-tiny", "model", VQConfig)
TINY_VQ4 = bundled_shape("llamagen-vq4-tiny", "model", VQConfig)
SCENES = bundled_shape("llamagen-vq4-scenes", "model", VQConfig)


def _official_spec(name: str, repo: str, file: str, config: VQConfig) -> TokenizerSpec:
    asset = Asset(name, "MIT", (Hub(repo, file),), "baselines.llamagen:convert", size=290_000_000)
    return _spec(name, asset, config, lpips="vgg")


@register(_official_spec("llamagen-vq16", "FoundationVision/LlamaGen", "vq_ds16_c2i.pt", VQ16))
@register(_official_spec("llamagen-vq16-t2i", "peizesun/llamagen_t2i", "vq_ds16_t2i.pt", VQ16))
@register(_official_spec("llamagen-vq8", "FoundationVision/LlamaGen", "vq_ds8_c2i.pt", VQ8), config=VQ8)
@register(
    _spec("llamagen-vq16-tiny", Asset("llamagen-vq16-tiny", "MIT"), TINY, "trained here on 4,419 photographs"),
    config=TINY,
)
# In LaCTok's proportions, whose ids are of an image of a quarter of the side of its output. Images are made smaller as
# for LaCTok's encoder; what this one decodes has 64 px and is then enlarged.
@register(
    _spec(
        "llamagen-vq4-tiny",
        Asset("llamagen-vq4-tiny", "MIT"),
        TINY_VQ4,
        "trained here on 4,419 photographs",
        (64, 56, 72),
        "bilinear",
    ),
    config=TINY_VQ4,
)
# For the small generators, which draw composed scenes: 256 ids of 64 px, or 576 ids of 96 px.
@register(
    _spec(
        "llamagen-vq4-scenes",
        Asset("llamagen-vq4-scenes", "MIT"),
        SCENES,
        "trained here on composed scenes",
        (64, 56, 72, 96),
        "bilinear",
    ),
    listed=False,
    config=SCENES,
)
class LlamaGenVQ(MapTokenizer):
    """A VQ tokenizer of LlamaGen's kind; `config` is the shape of its network, by default VQ-16's."""

    def __init__(self, spec: TokenizerSpec, config: VQConfig = VQ16):
        super().__init__(spec, VQModel(config))
