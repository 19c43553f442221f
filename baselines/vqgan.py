"""VQGAN of taming-transformers (Esser et al. 2021) and MaskGIT's VQGAN (Chang et al. 2022), trained on ImageNet.

Both divide the side of an image by 16. The first computes what LlamaGen's VQ does without normalised codes
(CompVis/taming-transformers, `taming/models/vqgan.py`), so its network is `lactok.nn.vqgan.VQModel` and only the names
of its tensors are converted; `vqgan@config=FILE` is any other VQModel of that repository. The second one's network is
`lactok.nn.maskgit_vqgan.MaskGITVQGAN`.
"""

from __future__ import annotations

from torch import Tensor

from baselines.id_map import MapTokenizer
from lactok.given_file import GivenFile
from lactok.nn import taming_config
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, Resample, Source, TokenizerSpec, Url
from lactok.tokenizer import Tokenizer

HEIBOX = "https://heibox.uni-heidelberg.de/d/{}/files/?p=%2Fckpts%2Flast.ckpt&dl=1"
SHA_16384 = "845a68805098cb666420d5db93df53f3a3b6dd443e6dd85c05759c5b998cd663"


def _taming_config(codebook_size: int) -> VQConfig:
    return VQConfig(codebook_size=codebook_size, codebook_dim=256, l2_norm=False, usage_buffer=False)


def _spec(
    name: str,
    codebook_size: int,
    asset: Asset,
    paper: str,
    resample: Resample = "bicubic-aa",
    taught_by: tuple[str, ...] = (),
) -> TokenizerSpec:
    return TokenizerSpec(
        name=name,
        family="vqgan",
        tokens=256,
        codebook_size=codebook_size,
        input_size=256,
        output_size=256,
        license=asset.license,
        paper=paper,
        assets=(asset,),
        resample=resample,
        taught_by=taught_by,
    )


def _taming_spec(name: str, codebook_size: int, *sources: Source) -> TokenizerSpec:
    asset = Asset(name, "MIT (code; the checkpoints state none)", sources, "lactok.nn.vqgan:from_taming", 980_000_000)
    # no script of the published figures exists, so images are resized as in training: bilinear without antialiasing
    paper, lpips = "Esser et al. 2021, arXiv 2012.09841", (LPIPS_BACKBONES["vgg"].name,)
    return _spec(name, codebook_size, asset, paper, "bilinear", lpips)


@register(
    _taming_spec(
        "vqgan-f16-16384",
        16384,
        Url(HEIBOX.format("a7530b09fed84f80a887"), SHA_16384, 980_092_370),
        Hub("pxlpshr/pytti-models", "vqgan/imagenet.ckpt", SHA_16384),
    ),
    config=_taming_config(16384),
)
@register(_taming_spec("vqgan-f16-1024", 1024, Url(HEIBOX.format("8088892a516d4e3baf92"))), config=_taming_config(1024))
class VQGAN(MapTokenizer):
    """A VQGAN of taming-transformers; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: VQConfig):
        super().__init__(spec, VQModel(config))


# by name alone: what it is depends on its options, without which it is the shape of vqgan-f16-16384
@register(
    TokenizerSpec(
        "vqgan",
        family="vqgan",
        tokens=256,
        codebook_size=16384,
        input_size=256,
        output_size=256,
        license=taming_config.LICENSE,
        resample="bilinear",
        options={
            "config": Option("", "the network's config of taming-transformers, a YAML file", file=True),
            "ckpt": Option("", "its checkpoint", file=True),
        },
        paper="Esser et al. 2021, arXiv 2012.09841",
        assets=(taming_config.asset("vqgan"),),
        taught_by=(LPIPS_BACKBONES["vgg"].name,),  # of all losses that taming-transformers has for it
        derive="lactok.nn.taming_config:attributes",
    ),
    listed=False,
)
class ConfiguredVQGAN(MapTokenizer):
    """A VQGAN of the config that the option `config` names."""

    def __init__(self, spec: TokenizerSpec):
        file = spec.values.get("config")
        config = taming_config.read(file)[0] if isinstance(file, GivenFile) else _taming_config(16384)
        super().__init__(spec, VQModel(config))


MASKGIT = Asset(
    "maskgit-vqgan-f16",
    "Apache-2.0",
    (Hub("fun-research/TiTok", "maskgit-vqgan-imagenet-f16-256.bin"),),
    size=218 * 10**6,
)


@register(_spec("maskgit-vqgan-f16", 1024, MASKGIT, "Chang et al. 2022, arXiv 2202.04200"))
class MaskGITTokenizer(Tokenizer):
    """MaskGIT's VQGAN; `config` is the shape of its network, by default the published one."""

    def __init__(self, spec: TokenizerSpec, config: MaskGITConfig | None = None):
        super().__init__(spec)
        self.model = MaskGITVQGAN(config or MaskGITConfig())

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(images).flatten(1)  # this network takes images in [0, 1] as they are

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return self.model.decode(ids.unflatten(1, (16, 16)))
