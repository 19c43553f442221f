"""VQGAN of taming-transformers (Esser et al. 2021) and MaskGIT's VQGAN (Chang et al. 2022), both f16 on ImageNet.

Source: CompVis/taming-transformers `taming/models/vqgan.py`; its arithmetic is LlamaGen's without l2-norm, so the
network is `lactok.nn.vqgan.VQModel` after a change of names. MaskGIT's is `lactok.nn.maskgit_vqgan`.
"""

from __future__ import annotations

from torch import Tensor

from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.registry import register
from lactok.specs import Asset, Hub, Resample, Source, TokenizerSpec, Url
from lactok.tokenizer import Tokenizer

HEIBOX = "https://heibox.uni-heidelberg.de/d/{}/files/?p=%2Fckpts%2Flast.ckpt&dl=1"
SHA_16384 = "845a68805098cb666420d5db93df53f3a3b6dd443e6dd85c05759c5b998cd663"


def taming(codebook_size: int) -> VQConfig:
    return VQConfig(codebook_size=codebook_size, codebook_dim=256, l2_norm=False, usage_buffer=False)


def _info(name: str, codes: int, asset: Asset, paper: str, resample: Resample = "bicubic-aa") -> TokenizerSpec:
    return TokenizerSpec(
        name=name,
        family="vqgan",
        tokens=256,
        codebook_size=codes,
        input_size=256,
        output_size=256,
        license=asset.license,
        paper=paper,
        assets=(asset,),
        resample=resample,
    )


def _esser(name: str, codes: int, *sources: Source) -> TokenizerSpec:
    asset = Asset(name, "MIT (code; the checkpoints state none)", sources, "lactok.nn.vqgan:from_taming", 980_000_000)
    # as its data sets were read: bilinear without antialias; no script of its published figures exists
    return _info(name, codes, asset, "Esser et al. 2021, arXiv 2012.09841", "bilinear")


@register(
    _esser(
        "vqgan-f16-16384",
        16384,
        Url(HEIBOX.format("a7530b09fed84f80a887"), SHA_16384, 980_092_370),
        Hub("pxlpshr/pytti-models", "vqgan/imagenet.ckpt", SHA_16384),
    ),
    config=taming(16384),
)
@register(_esser("vqgan-f16-1024", 1024, Url(HEIBOX.format("8088892a516d4e3baf92"))), config=taming(1024))
class VQGAN(Tokenizer):
    def __init__(self, spec: TokenizerSpec, config: VQConfig):
        super().__init__(spec)
        self.model = VQModel(config)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1).flatten(1)  # (B, 256), row by row

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return (self.model.decode(ids.unflatten(1, (16, 16))) + 1) / 2


MASKGIT = Asset(
    "maskgit-vqgan-f16",
    "Apache-2.0",
    (Hub("fun-research/TiTok", "maskgit-vqgan-imagenet-f16-256.bin"),),
    size=218 * 10**6,
)


@register(_info("maskgit-vqgan-f16", 1024, MASKGIT, "Chang et al. 2022, arXiv 2202.04200"))
class MaskGITTokenizer(Tokenizer):
    def __init__(self, spec: TokenizerSpec, config: MaskGITConfig | None = None):
        super().__init__(spec)
        self.model = MaskGITVQGAN(config or MaskGITConfig())

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(images).flatten(1)  # [0, 1] as it is

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return self.model.decode(ids.unflatten(1, (16, 16)))
