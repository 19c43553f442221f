"""LaCTok (arXiv 2503.08377): 256 ids for an image of 1024 px; the network is `lactok.nn.lactok.LaCTok`.

`lactok-h` decodes in Hyper-SD's single step, `lactok-t` in a few steps of TLCM; `-star` marks the paper's models that
were trained on constructed data. `vq-ladd` is the model after the first of the two stages of training: sampled by DDIM,
or with the LoRA of Hyper-SD (`vq-ladd-h`) or of TLCM (`vq-ladd-t`), which lets it do with fewer steps and is called the
accelerator here. Sources: Alpha-X-95/LaCToK `tokenizer.py`, `demo.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lactok import weights
from lactok.nn.lactok import LaCTok, LaCTokConfig, bundled_vae
from lactok.nn.lactok_checkpoint import assemble
from lactok.nn.latent_decoder import DecoderConfig, UNetShape
from lactok.nn.lpips_checkpoint import LPIPS_BACKBONES
from lactok.nn.vqgan import VQConfig
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

PAPER = "Xie et al. 2025, arXiv 2503.08377"
LICENSE = "its SDXL parts CreativeML Open RAIL++-M; the authors state no licence of their own"
NOTE = (
    "it is the whole tokenizer, SDXL's UNet as PEFT wraps it, 4498 tensors, 16.5 GB in float32, under SDXL's licence "
    "(CreativeML Open RAIL++-M); its authors (github Alpha-X-95/LaCToK) publish lactok-t-star alone: take that, or "
    "train your own"
)
STAGE_1_NOTE = "nobody publishes this model after stage 1; train your own"
# The address that the authors' README names. The file was not opened here: that it is the model of the paper which was
# trained on constructed data is inferred, since the paper has no other LaCTok-T.
T_STAR = Hub("OPPOer/LaCTok", "LaCTok-T.pth")
T_STAR_NOTE = "trained on constructed data; its file was not opened here: that it is this model is inferred"


def _small(vq: str, vae: str, unet: str, controlnet: str) -> LaCTokConfig:
    """Return the shape of a small model by the names of its parts' files."""
    encoder = bundled_shape(vq, "model", VQConfig)
    decoder = DecoderConfig(
        bundled_shape(unet, "unet", UNetShape).arguments(),
        encoder.codebook_dim,
        bundled_shape(controlnet, "embedding", tuple[int, ...]),
    )
    return LaCTokConfig(encoder, decoder, bundled_vae(vae, unet))


TINY = _small("llamagen-vq4-tiny", "vae-tiny", "ldm-tiny", "vq-ladd-tiny")
SCENES = _small("llamagen-vq4-scenes", "vae-scenes", "ldm-scenes", "lactok-t-scenes")
STEPS = {
    "tlcm": Option(3, "number of TLCM steps; trained with 2, released with 3", 1, 8),
    "hyper-sd": Option(1, "Hyper-SD's single step", choices=(1,)),
    "ddim": Option(25, "number of DDIM steps", 1, 1000),
}
COND_SCALE = Option(1.0, "strength of the condition; the authors' demo has 0.8, `decode_quant` 1", 0.0, 4.0)
INPUTS = (224, 256, 288)  # sides of the encoder's input in pixels, for 196, 256 and 324 ids
TINY_INPUTS = (56, 64, 72)
VAE = Option(
    "whole",
    "whether the VAE decodes the image whole or in tiles, which needs less memory but changes the image slightly",
    choices=("whole", "tiled"),
)


def _spec(
    name: str,
    sampler: str,
    assets: tuple[Asset, ...],
    codebook_size: int,
    inputs: tuple[int, int, int],
    note: str,
    taught_by: tuple[str, ...] = (),
) -> TokenizerSpec:
    """Return the spec of a model that is sampled by `sampler`, a name in `STEPS`; `inputs` are as `INPUTS`."""
    input_size = inputs[1]
    output_size = 4 * input_size
    options = {
        "steps": STEPS[sampler],
        "cond_scale": COND_SCALE,
        "input": Option(input_size, "side of the encoder's input in pixels: 196, 256 or 324 ids", choices=inputs),
        "size": Option(
            output_size,
            "side of the output in pixels; the ids stay the same",
            output_size // 4,
            4 * output_size,
            multiple=8,
        ),
        "vae": VAE,
    }
    return TokenizerSpec(
        name=name,
        family="lactok",
        tokens=256,
        codebook_size=codebook_size,
        input_size=input_size,
        output_size=output_size,
        license=assets[0].license,
        resample="bilinear",
        decode_steps=int(options["steps"].default),
        options=options,
        paper=PAPER,
        assets=assets,
        note=note,
        taught_by=taught_by,
    )


def _commands(name: str) -> str:
    """Return the commands that make the file of one of the authors' models, for the message that it is missing."""
    train, made = "python -m lactok.train lactok --data DIR --config", "python -m lactok.train assemble --config"
    commands = [f"{train} lactok-1-512", f"{train} lactok-1-1024"]
    model, _, letter = name.removesuffix("-star").rpartition("-")
    copy, last = "lactok-1-1024", "lactok-1-1024"
    if name != "vq-ladd":
        last = f"lactok-{letter}-2"
    if model == "lactok":
        commands.append(f"{train} {last}")
        copy = f"lactok-{letter}-copy"
    elif name != "vq-ladd":
        last += " --stage 1"
    commands.append(f"{made} {last} --copy training-runs/{copy}/{copy}.safetensors --out weights/{name}.safetensors")
    return ", then ".join(f"`{command}`" for command in commands)


def _official_spec(name: str, sampler: str, note: str = "", *sources: Hub) -> TokenizerSpec:
    """Return the spec of one of the authors' models, which is one file with everything in it."""
    why = "" if sources else f"{STAGE_1_NOTE if name.startswith('vq-ladd') else NOTE}: {_commands(name)}"
    asset = Asset(name, LICENSE, sources, "lactok.nn.lactok_checkpoint:convert", 16_510_000_000, note=why)
    return _spec(name, sampler, (asset,), 16384, INPUTS, note)


def _tiny_spec(name: str, sampler: str) -> TokenizerSpec:
    """Return the spec of a small model that was trained here, whose parts are the files that the trainers export.

    In this order: encoder with codebook, VAE, UNet, the UNet's accelerator (not for DDIM), and the ControlNet.
    """
    parts = ["llamagen-vq4-tiny", "vae-tiny", "ldm-tiny"]
    if sampler != "ddim":
        parts.append(f"{sampler}-tiny")
    note = "trained here on 4,419 photographs, its VAE on 900 of them"
    taught_by: tuple[str, ...] = (LPIPS_BACKBONES["alex"].name,)
    if name.startswith("vq-ladd"):
        parts.append("vq-ladd-tiny")
        note, taught_by = f"stage 1 alone, {note}", ()
    else:
        parts.append(name)
    assets = tuple(Asset(part, "MIT") for part in parts)
    return _spec(name, sampler, assets, TINY.encoder.codebook_size, TINY_INPUTS, note, taught_by)


def _scenes_spec(name: str, sampler: str) -> TokenizerSpec:
    """Return the spec of a small model of composed scenes."""
    parts = ("llamagen-vq4-scenes", "vae-scenes", "ldm-scenes", f"{sampler}-scenes", name)
    return _spec(
        name,
        sampler,
        tuple(Asset(part, "MIT") for part in parts),
        SCENES.encoder.codebook_size,
        TINY_INPUTS,
        "trained here on composed scenes",
        (LPIPS_BACKBONES["alex"].name,),
    )


@register(_official_spec("lactok-h", "hyper-sd"), sampler="hyper-sd")
@register(_official_spec("lactok-h-star", "hyper-sd", "trained on constructed data"), sampler="hyper-sd")
@register(_official_spec("lactok-t", "tlcm"), sampler="tlcm")
@register(_official_spec("lactok-t-star", "tlcm", T_STAR_NOTE, T_STAR), sampler="tlcm")
@register(_official_spec("vq-ladd", "ddim", "stage 1 alone"), listed=False, sampler="ddim")
@register(_official_spec("vq-ladd-h", "hyper-sd", "stage 1 with the accelerator"), listed=False, sampler="hyper-sd")
@register(_official_spec("vq-ladd-t", "tlcm", "stage 1 with the accelerator"), listed=False, sampler="tlcm")
@register(_tiny_spec("lactok-h-tiny", "hyper-sd"), config=TINY, sampler="hyper-sd")
@register(_tiny_spec("lactok-t-tiny", "tlcm"), config=TINY, sampler="tlcm")
@register(_tiny_spec("vq-ladd-tiny", "ddim"), listed=False, config=TINY, sampler="ddim")
@register(_tiny_spec("vq-ladd-h-tiny", "hyper-sd"), listed=False, config=TINY, sampler="hyper-sd")
@register(_tiny_spec("vq-ladd-t-tiny", "tlcm"), listed=False, config=TINY, sampler="tlcm")
@register(_scenes_spec("lactok-h-scenes", "hyper-sd"), listed=False, config=SCENES, sampler="hyper-sd")
@register(_scenes_spec("lactok-t-scenes", "tlcm"), listed=False, config=SCENES, sampler="tlcm")
class LaCTokTokenizer(Tokenizer):
    """A LaCTok, or one after the first stage of training.

    Args:
        spec: the tokenizer's spec.
        config: shape of the network; by default the published one.
        sampler: "tlcm", "hyper-sd" or "ddim".
    """

    def __init__(self, spec: TokenizerSpec, config: LaCTokConfig | None = None, sampler: str = "tlcm"):
        super().__init__(spec)
        self.sampler = sampler
        self.model = LaCTok(config or LaCTokConfig())
        self.side = (spec.input_size or 0) // self.model.config.encoder.downsampling  # of the map of ids
        if spec.values.get("vae") == "tiled":
            self.model.vae.enable_tiling()

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load one file with everything, as the authors publish it, or the parts that `_tiny_spec` lists."""
        if len(assets) == 1:
            (whole,) = assets.values()
        else:
            encoder, vae, unet, *accelerators, controlnet = assets.values()
            lora = accelerators[0] if accelerators else None
            whole = assemble(encoder, vae, unet, lora, controlnet)
        weights.load_strict(self.model, whole, self.spec.name)
        self.model.optimize_for_inference(self.spec.output_size or 0)

    def place(self, device: str | torch.device, dtype: torch.dtype, offload: bool, compile: bool) -> None:
        """Move the network to `device` and let it compute in `dtype`.

        Args:
            offload: keep the diffusion decoder and the VAE in main memory and move each layer to `device` for the
                moment that it computes.
            compile: compile the diffusion decoder and the VAE's decoder with `torch.compile`.
        """
        decoder, vae = self.model.decoder, self.model.vae
        if dtype != torch.float32:
            decoder.cast(dtype)
        if offload:
            from accelerate import cpu_offload

            for part in (decoder.unet, decoder.controlnet, vae):
                # a ConstantAttention reads a parameter of a module that it never calls, so both move together
                cpu_offload(part, torch.device(device), preload_module_classes=["ConstantAttention"])
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
        size = self.spec.output_size or 0
        cond_scale = float(self.spec.values["cond_scale"])
        code_map = self.model.code_map(ids.unflatten(1, (self.side, self.side)), size)
        latents = self.model.sample(code_map, seeds, size, self.sampler, self.spec.decode_steps, cond_scale)
        return (self.model.decode_latents(latents) + 1) / 2
