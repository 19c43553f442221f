"""SEED-2's image tokenizer (Ge et al. 2023) with its diffusion decoder: 32 ids for the content of an image.

The networks are `lactok.nn.seed.SeedQuantizer`, whose ids become a CLIP image embedding, and `lactok.nn.unclip.UnCLIP`,
which generates an image from it. `seedtok-tiny` is a small one that was trained with this project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lactok import weights
from lactok.nn.inception_checkpoint import INCEPTION
from lactok.nn.lactok import bundled_vae
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.seed import SeedConfig, SeedQuantizer, clip_normalise
from lactok.nn.unclip import UnCLIP, UnCLIPConfig, UnCLIPShape
from lactok.randomness import noise
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec, Url
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

CONVERTERS = "lactok.nn.unclip_checkpoint"  # the module whose functions convert the published files
EVA = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth"
QUANTIZER = Asset(
    "seed-2-quantizer",
    "Apache-2.0; its Q-Former BSD-3-Clause",
    (Hub("AILab-CVC/seed-tokenizer-2", "seed_quantizer.pt"),),
    f"{CONVERTERS}:convert_seed",
    1_230_000_000,
)
VIT = Asset("eva-vit-g", "MIT (EVA), as LAVIS serves it", (Url(EVA),), f"{CONVERTERS}:convert_eva", 2_030_000_000)


def _unclip_asset(part: str, file: str, size: int, convert: str | None = None) -> Asset:
    """Return a part of Stable Diffusion 2.1 unCLIP as an asset; `size` is that of the file in bytes."""
    repos = ("stabilityai/stable-diffusion-2-1-unclip", "sd2-community/stable-diffusion-2-1-unclip")
    sources = tuple(Hub(repo, f"{part}/{file}") for repo in repos)
    return Asset(f"sd21-unclip-{part.replace('_', '-')}", "openrail++", sources, convert, size)


DIFFUSION = {
    "unet": _unclip_asset("unet", "diffusion_pytorch_model.safetensors", 3_480_000_000),
    "vae": _unclip_asset("vae", "diffusion_pytorch_model.safetensors", 335_000_000, f"{CONVERTERS}:convert_vae"),
    "text_encoder": _unclip_asset("text_encoder", "model.safetensors", 1_360_000_000, f"{CONVERTERS}:convert_text"),
    "image_normalizer": _unclip_asset("image_normalizer", "diffusion_pytorch_model.safetensors", 10_000),
}
Parts = dict[str, Mapping[str, Tensor]]  # submodule's name -> tensors by their names in it
PAPER = "Ge et al. 2023, arXiv 2310.01218"


def _options(steps: int, guidance: float, least_steps: int) -> dict[str, Option]:
    """Return the options with the defaults of one model."""
    return {
        "steps": Option(steps, "number of steps of the PNDM scheduler", least_steps, 1000),
        "guidance": Option(guidance, "scale of classifier-free guidance; 1 is none", 1.0, 100.0),
    }


def official_parts(assets: Mapping[str, Mapping[str, Tensor]]) -> Parts:
    """Return the tensors of each submodule from the published files: quantizer, ViT, and those of `DIFFUSION`."""
    quantizer, vit, *diffusion = assets.values()
    # the official code loads the quantizer's file last, so its tensors count where both files have one
    joined = dict(vit) | dict(quantizer)
    joined.setdefault("Qformer.bert.embeddings.position_ids", torch.arange(SeedConfig().positions)[None])
    parts: Parts = {"model": joined}
    for name, tensors in zip(DIFFUSION, diffusion, strict=True):
        parts[f"unclip.{name}"] = tensors
    return parts


def trained_parts(assets: Mapping[str, Mapping[str, Tensor]]) -> Parts:
    """Return the tensors of each submodule from three files: what the trainer exports, the VAE, and Inception.

    Inception is the frozen part of the visual encoder; the trainer's file holds everything that was trained.
    """
    exported, vae, inception = assets.values()
    model = _below("model.", exported)
    for name, tensor in inception.items():
        model[f"visual_encoder.features.{name}"] = tensor
    parts: Parts = {"model": model, "unclip.vae": vae}
    for part in ("unet", "text_encoder", "image_normalizer", "predictor"):
        parts[f"unclip.{part}"] = _below(f"unclip.{part}.", exported)
    return parts


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
        note="trained here on 4,419 photographs; FID's Inception is its encoder, LPIPS's AlexNet taught its decoder",
        taught_by=(INCEPTION.name, LPIPS_BACKBONES["alex"].name),
    ),
    config=TINY,
    unclip=TINY_UNCLIP,
    parts=trained_parts,
)
class SeedTokenizer(Tokenizer):
    """SEED's image tokenizer with its decoder.

    Args:
        spec: the tokenizer's spec.
        config, unclip: shapes of the quantizer and of the decoder; by default the published ones.
        parts: a function from tensors by asset to tensors by submodule.
    """

    def __init__(
        self,
        spec: TokenizerSpec,
        config: SeedConfig | None = None,
        unclip: UnCLIPConfig | None = None,
        parts: Callable[[Mapping[str, Mapping[str, Tensor]]], Parts] = official_parts,
    ):
        super().__init__(spec)
        self.model = SeedQuantizer(config or SeedConfig())
        self.unclip = UnCLIP(unclip or UnCLIPConfig())
        self.parts = parts

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load each submodule strictly; every file of the spec must be given, in any order."""
        ordered = {asset.name: assets[asset.name] for asset in self.spec.assets}
        for name, tensors in self.parts(ordered).items():
            weights.load_strict(self.get_submodule(name), tensors, f"{self.spec.name} {name}")
        self.unclip.restore_positions()

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(clip_normalise(images))

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        embeds = self.model.image_embeds(ids)
        start = self.unclip.start(seeds).to(ids.device)
        embedding_noise = noise(seeds, embeds.shape[1:], "embedding").to(ids.device)
        steps = int(self.spec.values["steps"])
        guidance = float(self.spec.values["guidance"])
        return self.unclip.decode_latents(self.unclip.sample(embeds, start, embedding_noise, steps, guidance))
