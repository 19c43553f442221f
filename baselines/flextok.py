"""FlexTok's tokenizers (Bachmann et al. 2025): 1 to 256 ordered ids; the network is `lactok.nn.flextok.FlexTok`.

The authors' code and weights are for non-commercial research; this file is written anew, the weights stay theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lactok import weights
from lactok.errors import UserError
from lactok.nn.flextok import FlexTok, FlexTokConfig, NormGuidance, PlainGuidance
from lactok.nn.flextok_checkpoint import config_of
from lactok.randomness import noise
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights.metadata import bundled_shape

LICENSE = "Apple ML Research Model licence (non-commercial research only)"
FILES = "lactok.nn.flextok_checkpoint"
WIDE = FlexTokConfig()
MEDIUM = replace(WIDE, decoder=(1152, 18))
SMALL = replace(WIDE, encoder=(768, 12), decoder=(768, 12))
TINY = bundled_shape("flextok-tiny", "model", FlexTokConfig)
OPTIONS = {
    "tokens": Option(256, "length of the prefix that is kept", 1, 256),
    "steps": Option(20, "Euler steps; the official demo's 20, its code's default is 25", 1, 1000),
    "guidance": Option(7.5, "scale of the guidance; 1 is none", 0.0, 100.0),
    "guider": Option("apg", "norm guidance (the demo's) or plain classifier-free", choices=("apg", "cfg")),
    "posterior": Option("file", "VAE latents: as config.json says, mean, or drawn", choices=("file", "mode", "sample")),
}


def _info(name: str, repo: str, gigabytes: float) -> TokenizerSpec:
    assets = (
        Asset(name, LICENSE, (Hub(repo, "model.safetensors"),), f"{FILES}:convert", int(gigabytes * 1e9)),
        Asset(f"{name}-config", LICENSE, (Hub(repo, "config.json"),), f"{FILES}:check_config", 10_000),
    )
    return TokenizerSpec(
        name=name,
        family="flextok",
        tokens=256,
        codebook_size=64000,
        input_size=256,
        output_size=256,
        license=LICENSE,
        resample="bilinear-aa",
        decode_steps=20,
        options=OPTIONS,
        paper="Bachmann et al. 2025, arXiv 2502.13967",
        assets=assets,
    )


TINY_OPTIONS = OPTIONS | {
    "steps": replace(OPTIONS["steps"], default=4, help="Euler steps"),
    "guidance": replace(OPTIONS["guidance"], default=1.0),
    "posterior": replace(OPTIONS["posterior"], default="mode"),
}


@register(_info("flextok-d12-d12", "EPFL-VILAB/flextok_d12_d12_in1k", 1.4), config=SMALL)
@register(_info("flextok-d18-d18", "EPFL-VILAB/flextok_d18_d18_in1k", 3.8), config=MEDIUM)
@register(_info("flextok-d18-d28", "EPFL-VILAB/flextok_d18_d28_in1k", 10.2), config=WIDE)
@register(_info("flextok-d18-d28-dfn", "EPFL-VILAB/flextok_d18_d28_dfn", 10.2), config=WIDE)
class FlexTokTokenizer(Tokenizer):
    def __init__(self, spec: TokenizerSpec, config: FlexTokConfig):
        super().__init__(spec)
        self.model = FlexTok(config)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        tensors, config = assets.values()
        found = config_of(config)
        if math.prod(found.levels) != self.spec.codebook_size or found.registers != self.spec.options["tokens"].high:
            raise UserError(
                f"{self.spec.name}: its config.json has {found.registers} ids of {math.prod(found.levels)} codes, "
                f"expected {self.spec.options['tokens'].high} of {self.spec.codebook_size}; is it this model's?"
            )
        if found != self.model.config:  # what the file says counts, not what is assumed above
            with torch.device("meta"):
                self.model = FlexTok(found)
        weights.load_strict(self.model, tensors, self.spec.name)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        choice = self.spec.values["posterior"]
        drawn = self.model.config.sample_posterior if choice == "file" else choice == "sample"
        draw = noise(seeds, self.model.latent_shape, "posterior").to(images.device) if drawn else None
        return self.model.encode(2 * images - 1, draw, self.spec.tokens)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        values = self.spec.values
        guidance = (NormGuidance if values["guider"] == "apg" else PlainGuidance)(float(values["guidance"]))
        start = noise(seeds, self.model.latent_shape, "start").to(ids.device)
        return (self.model.decode(ids, start, int(values["steps"]), guidance) + 1) / 2


@register(
    TokenizerSpec(
        name="flextok-tiny",
        family="flextok",
        tokens=TINY.registers,
        codebook_size=math.prod(TINY.levels),
        input_size=256,
        output_size=256,
        license="MIT",
        resample="bilinear-aa",
        decode_steps=4,
        options=TINY_OPTIONS,
        paper="Bachmann et al. 2025, arXiv 2502.13967",
        assets=(Asset("flextok-tiny", "MIT"), Asset("vae-tiny", "MIT")),
        note="trained here on 900 photographs",
    )
)
class TinyFlexTok(FlexTokTokenizer):
    """The network trained here, its VAE the one that the small LaCToks have; the latents are the posterior's mean."""

    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec, TINY)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        own, vae = assets.values()
        weights.load_strict(self.model, {**own, **{f"vae.{k}": v for k, v in vae.items()}}, self.spec.name)
