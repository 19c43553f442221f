"""LaCTok (arXiv 2503.08377): 256 ids for 1024 px; the networks are `lactok.nn.lactok.LaCTok`.

`-h` decodes in Hyper-SD's one step, `-t` in TLCM's few; a star marks the paper's models trained on constructed data.
`vq-ladd` is the model after stage 1: sampled by DDIM, or with Hyper-SD's (`-h`) or TLCM's accelerator (`-t`). Sources:
Alpha-X-95/LaCToK `tokenizer.py`, `demo.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lactok import weights
from lactok.nn.lactok import LaCTok, LaCTokConfig, bundled_vae
from lactok.nn.lactok_checkpoint import assemble
from lactok.nn.latent_decoder import DecoderConfig, UNetShape
from lactok.nn.vqgan import VQConfig
from lactok.registry import register
from lactok.specs import Asset, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

PAPER = "Xie et al. 2025, arXiv 2503.08377"
LICENSE = "its SDXL parts CreativeML Open RAIL++-M; the authors state no licence of their own"
NOTE = (
    "it is the whole tokenizer, SDXL's UNet as PEFT wraps it, 4498 tensors, 16.5 GB in float32, under SDXL's licence "
    "(CreativeML Open RAIL++-M); its authors (github Alpha-X-95/LaCToK) name no address for it, so ask them, or train "
    "your own: `python -m lactok.train lactok`, then `assemble`"
)
TINY_VQ = bundled_shape("llamagen-vq16-tiny", "model", VQConfig)
TINY = LaCTokConfig(
    TINY_VQ,
    DecoderConfig(
        bundled_shape("ldm-tiny", "unet", UNetShape).arguments(),
        TINY_VQ.codebook_dim,
        bundled_shape("vq-ladd-tiny", "embedding", tuple[int, ...]),
    ),
    bundled_vae("vae-tiny", "ldm-tiny"),
)
SHARED = (
    Option(1.0, "strength of the condition; the authors' text-to-image demo has 0.8", 0.0, 4.0),
    Option(256, "side of the encoder's input: 196, 256 or 324 ids", choices=(224, 256, 288)),
    Option(
        "whole",
        "the VAE decodes the picture whole or in tiles, which needs less memory and shows slightly",
        choices=("whole", "tiled"),
    ),
)
STEPS = {
    "tlcm": Option(3, "TLCM's steps; trained with 2, released with 3", choices=(1, 2, 3, 4)),
    "hyper-sd": Option(1, "Hyper-SD's single step", choices=(1,)),
    "ddim": Option(25, "DDIM steps", 1, 1000),
}


def _info(name: str, sampler: str, assets: tuple[Asset, ...], codes: int, size: int, note: str) -> TokenizerSpec:
    scale, side, tiles = SHARED
    options = {
        "steps": STEPS[sampler],
        "cond_scale": scale,
        "input": side,
        "size": Option(size, "side of the output in pixels, from the same ids", size // 4, 4 * size, multiple=8),
        "vae": tiles,
    }
    return TokenizerSpec(
        name=name,
        family="lactok",
        tokens=256,
        codebook_size=codes,
        input_size=256,
        output_size=size,
        license=assets[0].license,
        resample="bilinear",
        decode_steps=int(options["steps"].default),
        options=options,
        paper=PAPER,
        assets=assets,
        note=note,
    )


def _official(name: str, sampler: str, note: str = "") -> TokenizerSpec:
    asset = Asset(name, LICENSE, (), "lactok.nn.lactok_checkpoint:convert", 16_510_000_000, note=NOTE)
    return _info(name, sampler, (asset,), 16384, 1024, note)


def _tiny(name: str, sampler: str) -> TokenizerSpec:
    """What the trainers export: encoder and codebook, VAE, UNet, its accelerator, and the copy, the model's own."""
    accelerator = {"hyper-sd": ("hyper-sd-tiny",), "tlcm": ("tlcm-tiny",), "ddim": ()}[sampler]
    stage_1 = name.startswith("vq-ladd")
    parts = ("llamagen-vq16-tiny", "vae-tiny", "ldm-tiny", *accelerator, "vq-ladd-tiny" if stage_1 else name)
    note = "stage 1 alone, " if stage_1 else ""
    assets = tuple(Asset(part, "MIT") for part in parts)
    return _info(name, sampler, assets, TINY_VQ.codebook_size, 256, f"{note}trained here on 900 photographs")


@register(_official("lactok-h", "hyper-sd"), sampler="hyper-sd")
@register(_official("lactok-h-star", "hyper-sd", "trained on constructed data"), sampler="hyper-sd")
@register(_official("lactok-t", "tlcm"), sampler="tlcm")
@register(_official("lactok-t-star", "tlcm", "trained on constructed data"), sampler="tlcm")
@register(_official("vq-ladd", "ddim", "stage 1 alone"), listed=False, sampler="ddim")
@register(_official("vq-ladd-h", "hyper-sd", "stage 1 with the accelerator"), listed=False, sampler="hyper-sd")
@register(_official("vq-ladd-t", "tlcm", "stage 1 with the accelerator"), listed=False, sampler="tlcm")
@register(_tiny("lactok-h-tiny", "hyper-sd"), config=TINY, sampler="hyper-sd")
@register(_tiny("lactok-t-tiny", "tlcm"), config=TINY, sampler="tlcm")
@register(_tiny("vq-ladd-tiny", "ddim"), listed=False, config=TINY, sampler="ddim")
@register(_tiny("vq-ladd-h-tiny", "hyper-sd"), listed=False, config=TINY, sampler="hyper-sd")
@register(_tiny("vq-ladd-t-tiny", "tlcm"), listed=False, config=TINY, sampler="tlcm")
class LaCTokTokenizer(Tokenizer):
    def __init__(self, spec: TokenizerSpec, config: LaCTokConfig | None = None, sampler: str = "tlcm"):
        super().__init__(spec)
        self.sampler = sampler
        self.side = (spec.input_size or 256) // 16
        self.model = LaCTok(config or LaCTokConfig())
        if spec.values.get("vae") == "tiled":
            self.model.vae.enable_tiling()

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """One file with everything, as published; or what `_tiny` lists, of which only the accelerator may lack."""
        whole, *parts = assets.values()
        if parts:
            vae, unet, *lora, copy = parts
            whole = assemble(whole, vae, unet, lora[0] if lora else None, copy)
        weights.load_strict(self.model, whole, self.spec.name)
        self.model.speed_up(self.spec.output_size or 0)

    def place(self, device: str | torch.device, dtype: torch.dtype, offload: bool, compile: bool) -> None:
        decoder, vae = self.model.decoder, self.model.vae
        if dtype != torch.float32:
            decoder.cast(dtype)
        if offload:
            from accelerate import cpu_offload

            for part in (decoder.unet, decoder.controlnet, vae):
                cpu_offload(part, torch.device(device), preload_module_classes=["Constant"])
            for part in (self.model.encoder, self.model.quant_conv, self.model.quantize):
                part.to(device)
            self.dtype = dtype
        else:
            super().place(device, dtype, False, False)
        if compile:
            for part in (decoder.unet, decoder.controlnet, vae.decoder):
                part.compile()

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return self.model.encode(2 * images - 1).flatten(1)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        size, values = self.spec.output_size or 0, self.spec.values
        code_map = self.model.code_map(ids.unflatten(1, (self.side, self.side)), size)
        clean = self.model.sample(
            code_map, seeds, size, self.sampler, self.spec.decode_steps, float(values["cond_scale"])
        )
        return (self.model.decode_latents(clean) + 1) / 2
