"""SEED-2's image tokenizer (Ge et al. 2023) with its diffusion decoder: 32 ids for what an image is about.

The networks are `lactok.nn.seed.SeedQuantizer` and `lactok.nn.unclip.UnCLIP`. `seedtok-tiny` is what the
trainer here makes: the same classes at narrow width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lactok import weights
from lactok.nn.inception_checkpoint import INCEPTION
from lactok.nn.lactok import bundled_vae
from lactok.nn.seed import SeedConfig, SeedQuantizer, clip_normalise
from lactok.nn.unclip import UnCLIP, UnCLIPConfig, UnCLIPShape
from lactok.randomness import noise
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec, Url
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

FILES = "lactok.nn.unclip_checkpoint"
EVA = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
QUANTIZER = Asset(
    "seed-2-quantizer",
    "Apache-2.0; its Q-Former BSD-3-Clause",
    (Hub("AILab-CVC/seed-tokenizer-2", "seed_quantizer.pt"),),
    f"{FILES}:convert_seed",
    1_230_000_000,
)
VIT = Asset("eva-vit-g", "MIT (EVA), as LAVIS serves it", (Url(EVA),), f"{FILES}:convert_eva", 2_030_000_000)


def _unclip(part: str, file: str, size: int, convert: str | None = None) -> Asset:
    repos = ("stabilityai/stable-diffusion-2-1-unclip", "sd2-community/stable-diffusion-2-1-unclip")
    sources = tuple(Hub(repo, f"{part}/{file}") for repo in repos)
    return Asset(f"sd21-unclip-{part.replace('_', '-')}", "openrail++", sources, convert, size)


DIFFUSION = {
    "unet": _unclip("unet", "diffusion_pytorch_model.safetensors", 3_480_000_000),
    "vae": _unclip("vae", "diffusion_pytorch_model.safetensors", 335_000_000, f"{FILES}:convert_vae"),
    "text_encoder": _unclip("text_encoder", "model.safetensors", 1_360_000_000, f"{FILES}:convert_text"),
    "image_normalizer": _unclip("image_normalizer", "diffusion_pytorch_model.safetensors", 10_000),
}
Parts = dict[str, Mapping[str, Tensor]]  # tensors by the submodule that they belong to
PAPER = "Ge et al. 2023, arXiv 2310.01218"


def _options(steps: int, guidance: float, least: int) -> dict[str, Option]:
    return {
        "steps": Option(steps, "of the PNDM scheduler", least, 1000),
        "guidance": Option(guidance, "scale of classifier-free guidance; 1 is none", 1.0, 100.0),
    }


def official(assets: Mapping[str, Mapping[str, Tensor]]) -> Parts:
    """The quantizer's and the ViT's file, and the diffusion model's of one part each."""
    quantizer, vit, *diffusion = assets.values()
    joined = dict(vit) | dict(quantizer)  # upstream loads the quantizer's file last
    joined.setdefault("Qformer.bert.embeddings.position_ids", torch.arange(SeedConfig().positions)[None])
    return {"model": joined} | {f"unclip.{k}": v for k, v in zip(DIFFUSION, diffusion, strict=True)}


def trained(assets: Mapping[str, Mapping[str, Tensor]]) -> Parts:
    """What the trainer exports, the VAE, and Inception, which is the visual encoder."""
    whole, vae, inception = assets.values()
    names = ("model", *(f"unclip.{part}" for part in (*DIFFUSION, "predictor") if part != "vae"))
    parts = {
        name: {k.removeprefix(f"{name}."): v for k, v in whole.items() if k.startswith(f"{name}.")} for name in names
    }
    parts["model"] |= {f"visual_encoder.features.{k}": v for k, v in inception.items()}
    return parts | {"unclip.vae": vae}


TINY = bundled_shape("seedtok-tiny", "model", SeedConfig)
TINY_UNCLIP = bundled_shape("seedtok-tiny", "unclip", UnCLIPShape).config(
    TINY.features, bundled_vae("vae-tiny", "seedtok-tiny"), TINY.image_size
)


@register(
    TokenizerSpec(
        name="seedtok-2",
        family="seedtok",
        tokens=32,
        codebook_size=8192,
        input_size=224,
        output_size=768,
        license="Apache-2.0 and openrail++",
        fit="squash",
        resample="bilinear-aa",
        decode_steps=20,
        options=_options(20, 10.0, 4),
        paper=PAPER,
        assets=(QUANTIZER, VIT, *DIFFUSION.values()),
        note="keeps what an image is about, not its pixels",
    )
)
@register(
    TokenizerSpec(
        name="seedtok-tiny",
        family="seedtok",
        tokens=TINY.queries,
        codebook_size=TINY.codebook_size,
        input_size=TINY.image_size,
        output_size=TINY.image_size,
        license="MIT; its Inception Apache-2.0",
        decode_steps=2,
        options=_options(2, 1.0, 2),
        paper=PAPER,
        assets=(Asset("seedtok-tiny", "MIT"), Asset("vae-tiny", "MIT"), INCEPTION),
        note="trained here on 900 photographs; FID's Inception is its visual encoder and taught its decoder",
    ),
    config=TINY,
    unclip=TINY_UNCLIP,
    parts=trained,
)
class SeedTokenizer(Tokenizer):
    def __init__(
        self,
        spec: TokenizerSpec,
        config: SeedConfig | None = None,
        unclip: UnCLIPConfig | None = None,
        parts: Callable[[Mapping[str, Mapping[str, Tensor]]], Parts] = official,
    ):
        super().__init__(spec)
        self.model = SeedQuantizer(config or SeedConfig())
        self.unclip = UnCLIP(unclip or UnCLIPConfig())
        self.parts = parts

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, tensors in self.parts({a.name: assets[a.name] for a in self.spec.assets}).items():
            weights.load_strict(self.get_submodule(name), tensors, f"{self.spec.name} {name}")
        self.unclip.restore_positions()

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(clip_normalise(images))

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        embeds = self.model.image_embeds(ids)
        start = self.unclip.start(seeds).to(ids.device)
        draw = noise(seeds, embeds.shape[1:], "embedding").to(ids.device)
        steps, guidance = int(self.spec.values["steps"]), float(self.spec.values["guidance"])
        return self.unclip.decode_latents(self.unclip.sample(embeds, start, draw, steps, guidance))
