"""SEED-2's image tokenizer (Ge et al. 2023) with its diffusion decoder: 32 ids for what an image is about.

The networks are `lactok.layers.seed.SeedQuantizer` and `lactok.layers.unclip.UnCLIP`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lactok import weights
from lactok.info import Asset, Hub, Option, TokenizerInfo, Url
from lactok.layers.seed import SeedConfig, SeedQuantizer, clip_normalise
from lactok.layers.unclip import UnCLIP, UnCLIPConfig
from lactok.noise import noise
from lactok.registry import register
from lactok.tokenizer import Tokenizer

FILES = "lactok.layers.unclip_files"
EVA = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
QUANTIZER = Asset(
    "seed-2-quantizer", "Apache-2.0; its Q-Former BSD-3-Clause",
    (Hub("AILab-CVC/seed-tokenizer-2", "seed_quantizer.pt"),), f"{FILES}:convert_seed", 1_230_000_000,
)  # fmt: skip
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
OPTIONS = {
    "steps": Option(20, "of the PNDM scheduler", 4, 1000),
    "guidance": Option(10.0, "scale of classifier-free guidance; 1 is none", 1.0, 100.0),
}


@register(
    TokenizerInfo(
        name="seedtok-2", family="seedtok", tokens=32, codebook_size=8192, input_size=224, output_size=768,
        license="Apache-2.0 and openrail++", fit="squash", resample="bilinear-aa", decode_steps=20, options=OPTIONS,
        paper="Ge et al. 2023, arXiv 2310.01218", assets=(QUANTIZER, VIT, *DIFFUSION.values()),
        note="keeps what an image is about, not its pixels",
    )
)  # fmt: skip
class SeedTokenizer(Tokenizer):
    def __init__(self, info: TokenizerInfo, config: SeedConfig | None = None, unclip: UnCLIPConfig | None = None):
        super().__init__(info)
        self.model = SeedQuantizer(config or SeedConfig())
        self.unclip = UnCLIP(unclip or UnCLIPConfig())

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        quantizer, vit, *diffusion = (assets[a.name] for a in self.info.assets)
        joined = dict(vit) | dict(quantizer)  # upstream loads the quantizer's file last
        joined.setdefault("Qformer.bert.embeddings.position_ids", torch.arange(self.model.config.positions)[None])
        weights.load_strict(self.model, joined, self.info.name)
        for part, tensors in zip(DIFFUSION, diffusion, strict=True):
            weights.load_strict(self.unclip.get_submodule(part), tensors, f"{self.info.name} {part}")
        self.unclip.restore_positions()

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(clip_normalise(images))

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        embeds = self.model.image_embeds(ids)
        start = noise(seeds, self.unclip.latent_shape, "start").to(ids.device)
        draw = noise(seeds, embeds.shape[1:], "embedding").to(ids.device)
        steps, guidance = int(self.info.values["steps"]), float(self.info.values["guidance"])
        return self.unclip.decode_latents(self.unclip.sample(embeds, start, draw, steps, guidance))
