"""TiTok's tokenizers (Yu et al. 2024): 32 to 256 ids an image, and a small one that was trained with this project.

Its continuous models ("vae") are ceilings: rows without ids, whose latent tokens are 16 numbers each. Their shapes are
those of the authors' configs; the files were not opened here, and no reference set is of them, but all of their network
except the last layer of the encoder is that of the vq8k models.

The network is `lactok.nn.titok.TiTok`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lactok.nn.continuous import VALUE_BITS, posterior_option, stored
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.titok import SIZES, Size, TiTok, TiTokConfig
from lactok.randomness import noise
from lactok.registry import register
from lactok.specs import Asset, Hub, TokenizerSpec
from lactok.tokenizer import Reconstructor, Tokenizer
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


def _vae(encoder: Size, tokens: int) -> TiTokConfig:
    """Return the shape of one of the continuous models."""
    return TiTokConfig(
        SIZES[encoder], SIZES["large"], tokens, code_dim=16, l2_norm=False, legacy=False, continuous=True
    )


CONTINUOUS = {
    "titok-vae-ll32": _vae("large", 32),
    "titok-vae-bl64": _vae("base", 64),
    "titok-vae-bl128": _vae("base", 128),
}
TINY = bundled_shape("titok-s128-tiny", "model", TiTokConfig)
MEGABYTES = {"s128": 335, "b64": 820, "l32": 2565, "sl256": 1322, "bl128": 1561, "bl64": 1561}  # in float32
CONTINUOUS_MEGABYTES = {"ll32": 2428, "bl64": 1558, "bl128": 1559}  # likewise


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


def _continuous_spec(name: str) -> TokenizerSpec:
    """Return the spec of one of the continuous models, `CONTINUOUS`."""
    config = CONTINUOUS[name]
    short = name.removeprefix("titok-vae-")
    source = Hub(f"yucornetto/tokenizer_titok_{short}_vae_c16_imagenet", "model.safetensors")
    asset = Asset(name, "Apache-2.0", (source,), size=CONTINUOUS_MEGABYTES[short] * 10**6)
    note = (
        f"continuous: {config.tokens} latent tokens of {config.code_dim} numbers, no ids; its file was not opened here"
    )
    return replace(
        _spec(name, config, asset, note),
        tokens=None,
        codebook_size=None,
        kind="continuous",
        # the authors' rFIDs are of samples
        options={"value_bits": VALUE_BITS, "posterior": posterior_option("sample")},
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
        "trained here on 4,419 photographs",
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


@register(_continuous_spec("titok-vae-ll32"), config=CONTINUOUS["titok-vae-ll32"])
@register(_continuous_spec("titok-vae-bl64"), config=CONTINUOUS["titok-vae-bl64"])
@register(_continuous_spec("titok-vae-bl128"), config=CONTINUOUS["titok-vae-bl128"])
class ContinuousTiTok(Reconstructor):
    """A TiTok whose latent tokens are numbers; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: TiTokConfig):
        super().__init__(spec)
        self.model = TiTok(config)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        images = self.checked_inputs(images)
        given, values = self._checked_seeds(seeds, len(images)), self.spec.values
        width = int(values["value_bits"])
        with self._compute():
            latents, deviation = self.model.posterior(images)
            if values["posterior"] == "sample":
                latents = latents + deviation * noise(given, tuple(latents.shape[1:]), "posterior").to(latents.device)
            out = self.model.decode_features(stored(self.model, latents, width))
        bits = float(latents[0].numel() * width)
        return self._checked_images(out, len(images)), torch.full((len(images),), bits, dtype=torch.float64)
