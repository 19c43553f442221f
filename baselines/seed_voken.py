"""SEED-Voken's tokenizers: IBQ (Shi et al. 2024) and Open-MAGVIT2 (Luo et al. 2024), with up to 2^18 codes.

Source: TencentARC/SEED-Voken. The networks are `lactok.nn.ibq.IBQ` and `lactok.nn.open_magvit2.OpenMagvit2`. The files
hold raw and averaged weights; the averaged ones are taken, as the authors' evaluation does. No file was opened here:
names and shapes are those of the official classes.
"""

from __future__ import annotations

from baselines.id_map import MapTokenizer
from lactok.nn.ibq import IBQ
from lactok.nn.open_magvit2 import OpenMagvit2, OpenMagvit2Config
from lactok.nn.vqgan import VQConfig
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec


def _ibq_config(codebook_size: int) -> VQConfig:
    return VQConfig(res_blocks=4, codebook_size=codebook_size, codebook_dim=256, l2_norm=False, usage_buffer=False)


def _spec(
    name: str,
    config: VQConfig | OpenMagvit2Config,
    repository: str,
    file: str,
    megabytes: int,
    side: int = 256,
    further: tuple[int, ...] = (384, 512),
) -> TokenizerSpec:
    """Return the spec of a published network.

    Args:
        name: its name.
        config: its shape.
        repository, file: on the hub.
        megabytes: of raw and averaged weights and the losses' networks; optimizer states, if any, are beside them.
        side: of the images that it was trained on, in pixels.
        further: other sides that it takes.
    """
    is_ibq = isinstance(config, VQConfig)
    asset = Asset(
        name,
        "Apache-2.0",
        (Hub(f"TencentARC/{repository}", file),),
        "lactok.nn.ibq:from_voken" if is_ibq else "lactok.weights.averages:averaged",
        megabytes * 10**6,
    )
    return TokenizerSpec(
        name,
        "ibq" if is_ibq else "open-magvit2",
        tokens=(side // config.downsampling) ** 2,
        codebook_size=config.codebook_size,
        input_size=side,
        output_size=side,
        license=asset.license,
        # quirk: only IBQ's networks for ImageNet are fed by albumentations, which resizes without antialiasing
        resample="bilinear" if is_ibq and not name.endswith("-pretrain") else "bilinear-aa",
        options={"input": Option(side, "side of the image in pixels, in and out", choices=(side, *further))},
        paper="Shi et al. 2024, arXiv 2412.02692" if is_ibq else "Luo et al. 2024, arXiv 2409.04410",
        assets=(asset,),
    )


IBQ_1K, IBQ_8K, IBQ_16K, IBQ_262K = (_ibq_config(2**bits) for bits in (10, 13, 14, 18))


@register(_spec("ibq-1k", IBQ_1K, "IBQ-Tokenizer-1024", "imagenet256_1024.ckpt", 930), config=IBQ_1K)
@register(_spec("ibq-8k", IBQ_8K, "IBQ-Tokenizer-8192", "imagenet256_8192.ckpt", 950), config=IBQ_8K)
@register(_spec("ibq-16k", IBQ_16K, "IBQ-Tokenizer-16384", "imagenet256_16384.ckpt", 970), config=IBQ_16K)
@register(_spec("ibq-262k", IBQ_262K, "IBQ-Tokenizer-262144", "imagenet256_262144.ckpt", 1470), config=IBQ_262K)
@register(
    _spec("ibq-16k-pretrain", IBQ_16K, "IBQ-Tokenizer-16384-Pretrain", "IBQ_pretrain_16384.ckpt", 970), config=IBQ_16K
)
@register(
    _spec("ibq-262k-pretrain", IBQ_262K, "IBQ-Tokenizer-262144-Pretrain", "IBQ_pretrain_262144.ckpt", 1470),
    config=IBQ_262K,
)
class IBQTokenizer(MapTokenizer):
    """An IBQ; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: VQConfig):
        super().__init__(spec, IBQ(config))


F16 = OpenMagvit2Config()
F16_16K = OpenMagvit2Config(bits=14)
F8 = OpenMagvit2Config(channel_mult=(1, 2, 2, 4))
REPOSITORY = "Open-MAGVIT2-Tokenizer-{}"


@register(_spec("open-magvit2-262k", F16, REPOSITORY.format("256-resolution"), "imagenet_256_L.ckpt", 1000), config=F16)
@register(
    _spec("open-magvit2-262k-128", F8, REPOSITORY.format("128-resolution"), "imagenet_128_L.ckpt", 970, 128, (256,)),
    config=F8,
)
@register(
    _spec("open-magvit2-16k-pretrain", F16_16K, REPOSITORY.format("16384-Pretrain"), "pretrain256_16384.ckpt", 990),
    config=F16_16K,
)
@register(
    _spec("open-magvit2-262k-pretrain", F16, REPOSITORY.format("262144-Pretrain"), "pretrain256_262144.ckpt", 1000),
    config=F16,
)
class OpenMagvit2Tokenizer(MapTokenizer):
    """An Open-MAGVIT2; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: OpenMagvit2Config):
        super().__init__(spec, OpenMagvit2(config))
