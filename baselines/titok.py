"""TiTok's tokenizers (Yu et al. 2024): 32 to 256 ids an image, and a small one that was trained with this project.

The network is `lactok.nn.titok.TiTok`.
"""

from __future__ import annotations

from torch import Tensor

from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.titok import SIZES, Size, TiTok, TiTokConfig
from lactok.registry import register
from lactok.specs import Asset, Hub, TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape


def _legacy(size: Size, tokens: int) -> TiTokConfig:
    """Return the shape of one of the first models, which decode through the codes of a MaskGIT-VQGAN."""
    return TiTokConfig(SIZES[size], SIZES[size], tokens)


def _vq8k(encoder: Size, tokens: int) -> TiTokConfig:
    """Return the shape of one of the later models, which have 8192 codes and decode to RGB directly."""
    return TiTokConfig(SIZES[encoder], SIZES["large"], tokens, 8192, 64, l2_norm=False, legacy=False)


CONFIGS = {
    "titok-s128": _legacy("small", 128),
    "titok-b64": _legacy("base", 64),
    "titok-l32": _legacy("large", 32),
    "titok-sl256": _vq8k("small", 256),
    "titok-bl128": _vq8k("base", 128),
    "titok-bl64": _vq8k("base", 64),
}
TINY = bundled_shape("titok-s128-tiny", "model", TiTokConfig)
MEGABYTES = {"s128": 335, "b64": 820, "l32": 2565, "sl256": 1322, "bl128": 1561, "bl64": 1561}  # in float32


def _official_spec(name: str) -> TokenizerSpec:
    """Return the spec of one of the published models, `CONFIGS`."""
    config = CONFIGS[name]
    short = name.removeprefix("titok-")
    stem = f"titok_{short}" if config.legacy else f"titok_{short}_vq8k"
    sources = (
        Hub(f"yucornetto/tokenizer_{stem}_imagenet", "model.safetensors"),
        Hub("fun-research/TiTok", f"tokenizer_{stem}.bin"),
    )
    return _spec(name, config, Asset(name, "Apache-2.0", sources, size=MEGABYTES[short] * 10**6))


def _spec(
    name: str, config: TiTokConfig, asset: Asset, note: str = "", taught_by: tuple[str, ...] = ()
) -> TokenizerSpec:
    return TokenizerSpec(
        name=name,
        family="titok",
        tokens=config.tokens,
        codebook_size=config.codebook_size,
        input_size=256,
        output_size=256,
        license=asset.license,
        paper="Yu et al. 2024, arXiv 2406.07550",
        assets=(asset,),
        note=note,
        taught_by=taught_by,
    )


@register(_official_spec("titok-s128"), config=CONFIGS["titok-s128"])
@register(_official_spec("titok-b64"), config=CONFIGS["titok-b64"])
@register(_official_spec("titok-l32"), config=CONFIGS["titok-l32"])
@register(_official_spec("titok-sl256"), config=CONFIGS["titok-sl256"])
@register(_official_spec("titok-bl128"), config=CONFIGS["titok-bl128"])
@register(_official_spec("titok-bl64"), config=CONFIGS["titok-bl64"])
@register(
    _spec(
        "titok-s128-tiny",
        TINY,
        Asset("titok-s128-tiny", "MIT"),
        "trained here on 900 photographs",
        (LPIPS_BACKBONES["alex"].name,),
    ),
    config=TINY,
)
class TiTokTokenizer(Tokenizer):
    """A TiTok; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: TiTokConfig):
        super().__init__(spec)
        self.model = TiTok(config)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(images)  # TiTok takes images in [0, 1] as they are

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return self.model.decode(ids)
