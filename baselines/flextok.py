"""FlexTok's tokenizers (Bachmann et al. 2025): an image becomes 256 ordered ids, of which any prefix can be decoded.

The network is `lactok.nn.flextok.FlexTok`. It is our own implementation; the published weights remain under the
authors' licence, which allows non-commercial research only.
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
CONVERTERS = "lactok.nn.flextok_checkpoint"  # the module whose functions convert the published files
D18_D28 = FlexTokConfig()
D18_D18 = replace(D18_D28, decoder=(1152, 18))
D12_D12 = replace(D18_D28, encoder=(768, 12), decoder=(768, 12))
TINY = bundled_shape("flextok-tiny", "model", FlexTokConfig)
OPTIONS = {
    "tokens": Option(256, "number of ids that are kept, from the first", 1, 256),
    "steps": Option(
        20, "number of Euler steps; the official demo takes 20, the official code's default is 25", 1, 1000
    ),
    "guidance": Option(7.5, "scale of the guidance; 1 is none", 0.0, 100.0),
    "guider": Option(
        "apg", "adaptive projected guidance, as in the demo, or classifier-free guidance", choices=("apg", "cfg")
    ),
    "posterior": Option(
        "file",
        "the VAE's latents: the posterior's mean, a sample of it, or which of the two config.json says",
        choices=("file", "mode", "sample"),
    ),
}


def _spec(name: str, repo: str, gigabytes: float) -> TokenizerSpec:
    """Return the spec of a published model; `gigabytes` is the approximate size of its weights."""
    assets = (
        Asset(name, LICENSE, (Hub(repo, "model.safetensors"),), f"{CONVERTERS}:convert", int(gigabytes * 1e9)),
        Asset(f"{name}-config", LICENSE, (Hub(repo, "config.json"),), f"{CONVERTERS}:check_config", 10_000),
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
    "steps": replace(OPTIONS["steps"], default=4, help="number of Euler steps"),
    "guidance": replace(OPTIONS["guidance"], default=1.0),
    "posterior": replace(OPTIONS["posterior"], default="mode"),
}


@register(_spec("flextok-d12-d12", "EPFL-VILAB/flextok_d12_d12_in1k", 1.4), config=D12_D12)
@register(_spec("flextok-d18-d18", "EPFL-VILAB/flextok_d18_d18_in1k", 3.8), config=D18_D18)
@register(_spec("flextok-d18-d28", "EPFL-VILAB/flextok_d18_d28_in1k", 10.2), config=D18_D28)
@register(_spec("flextok-d18-d28-dfn", "EPFL-VILAB/flextok_d18_d28_dfn", 10.2), config=D18_D28)
class FlexTokTokenizer(Tokenizer):
    """A published FlexTok; `config` is the shape of its network until its own config.json is read."""

    def __init__(self, spec: TokenizerSpec, config: FlexTokConfig):
        super().__init__(spec)
        self.model = FlexTok(config)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights into a network of the shape that config.json states.

        Raises:
            UserError: config.json belongs to a model with another number of ids or codes, or the weights do not fit.
        """
        tensors, config = assets.values()
        found = config_of(config)
        if math.prod(found.levels) != self.spec.codebook_size or found.registers != self.spec.options["tokens"].high:
            raise UserError(
                f"{self.spec.name}: its config.json has {found.registers} ids of {math.prod(found.levels)} codes, "
                f"expected {self.spec.options['tokens'].high} of {self.spec.codebook_size}; is it this model's?"
            )
        if found != self.model.config:  # config.json decides, not the shape that this module assumes
            with torch.device("meta"):
                self.model = FlexTok(found)
        weights.load_strict(self.model, tensors, self.spec.name)

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        choice = self.spec.values["posterior"]
        posterior_noise = None
        if choice == "sample" or (choice == "file" and self.model.config.sample_posterior):
            posterior_noise = noise(seeds, self.model.latent_shape, "posterior").to(images.device)
        return self.model.encode(2 * images - 1, posterior_noise, self.spec.tokens)

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        values = self.spec.values
        scale = float(values["guidance"])
        guidance = NormGuidance(scale) if values["guider"] == "apg" else PlainGuidance(scale)
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
    """A small FlexTok that was trained with this project; it shares its VAE with the small LaCToks."""

    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec, TINY)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the network from one file and its VAE from another."""
        own, vae = assets.values()
        tensors = dict(own)
        for name, tensor in vae.items():
            tensors[f"vae.{name}"] = tensor
        weights.load_strict(self.model, tensors, self.spec.name)
