"""Continuous autoencoders of diffusers, the ceilings of tokenizers: Stable Diffusion's VAEs, FLUX's, DC-AE, TAESD.

Their latents are numbers, so a row has no ids, and its bits are its numbers times the bits of each. The files were not
opened here; the shape of a network is what the `config.json` beside its weights says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import torch
from torch import Tensor

from lactok import weights
from lactok.device import exact_float32
from lactok.errors import UserError
from lactok.nn import continuous
from lactok.nn.continuous import SDXL_VAE_FILE, VALUE_BITS, Shape, posterior_option, weight_file
from lactok.nn.lactok import VAEShape
from lactok.randomness import noise
from lactok.registry import register
from lactok.specs import Asset, Hub, Option, TokenizerSpec
from lactok.tokenizer import Reconstructor
from lactok.weights.metadata import bundled_shape

SIDE = 256  # pixels, unless the option `input` says otherwise
LDM, DCAE = "Rombach et al. 2022, arXiv 2112.10752", "Chen et al. 2024, arXiv 2410.10733"
CODE = "Apache-2.0 (code)"


@dataclass(frozen=True)
class Published:
    """A published autoencoder.

    Attributes:
        shape: of its network.
        file: its weights; its config.json lies beside them, unless the package ships the file.
        paper: authors, year and arXiv number, "" where there is none.
    """

    shape: Shape
    file: Asset
    paper: str = ""


def _dc(name: str, widths: tuple[int, ...], channels: int, megabytes: int) -> Published:
    """Return one of the DC-AEs that were trained on ImageNet."""
    file = weight_file(name, CODE, f"mit-han-lab/{name}-in-1.0-diffusers", megabytes)
    return Published(continuous.dc(widths, channels), file, DCAE)


def _tiny(name: str, channels: int) -> Published:
    """Return one of the small autoencoders that were distilled from a larger one's decoder and encoder."""
    return Published(continuous.tiny(channels), weight_file(name, "MIT", f"madebyollin/{name}", 10))


WIDTHS = (128, 256, 512, 512, 1024, 1024)  # of the levels of a DC-AE, from the finest to the coarsest
MODELS = {
    "sd-vae": Published(
        continuous.kl(4),
        weight_file(
            "sd-vae",
            "CreativeML OpenRAIL-M",
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            335,
            "vae/",
            "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        LDM,
    ),
    "sd-vae-ft-mse": Published(
        continuous.kl(4), weight_file("sd-vae-ft-mse", "MIT", "stabilityai/sd-vae-ft-mse", 335), LDM
    ),
    "sdxl-vae": Published(continuous.kl(4), SDXL_VAE_FILE, "Podell et al. 2023, arXiv 2307.01952"),
    "sd3-vae": Published(
        continuous.kl(16),
        weight_file(
            "sd3-vae",
            "Stability AI Community License",
            "stabilityai/stable-diffusion-3-medium-diffusers",
            168,
            "vae/",
            "ea42f8cef0f178587cf766dc8129abd379c90671",
        ),
        "Esser et al. 2024, arXiv 2403.03206",
    ),
    "flux-vae": Published(
        continuous.kl(16),
        weight_file(
            "flux-vae",
            "FLUX.1 [dev] Non-Commercial License",
            "black-forest-labs/FLUX.1-dev",
            168,
            "vae/",
            "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        ),
    ),
    "dc-ae-f32c32": _dc("dc-ae-f32c32", WIDTHS, 32, 1290),
    "dc-ae-f64c128": _dc("dc-ae-f64c128", (*WIDTHS, 2048), 128, 2700),
    "dc-ae-f128c512": _dc("dc-ae-f128c512", (*WIDTHS, 2048, 2048), 512, 4480),
    "taesd": _tiny("taesd", 4),
    "taesdxl": _tiny("taesdxl", 4),
    "taesd3": _tiny("taesd3", 16),
    "taef1": _tiny("taef1", 16),
    # the small LaCToks' own
    "vae-tiny": Published(
        Shape("AutoencoderKL", bundled_shape("vae-tiny", "model", VAEShape).arguments()), Asset("vae-tiny", "MIT")
    ),
}


def _options(shape: Shape) -> dict[str, Option]:
    """Return the options of an autoencoder: its input's size, how its latents are kept, and which they are."""
    is_tiny = shape.kind == "AutoencoderTiny"
    multiple = shape.downsampling
    options = {
        "input": Option(SIDE, "side of the image in pixels, in and out", low=128, high=4096, multiple=multiple),
        "value_bits": VALUE_BITS,
    }
    if is_tiny:
        help = "bits of a stored latent: 8 is 256 steps of the network's range, 16 float16, 32 float32"
        options["value_bits"] = replace(VALUE_BITS, help=help, choices=(8, 16, 32))
    if shape.kind == "AutoencoderKL":
        options["posterior"] = posterior_option("mode")
    return options


def _spec(name: str) -> TokenizerSpec:
    """Return the spec of one of `MODELS`."""
    model = MODELS[name]
    license, shape = model.file.license, model.shape
    assets = [model.file]
    for source in model.file.sources:
        assert isinstance(source, Hub)
        config = replace(source, file=str(PurePosixPath(source.file).with_name("config.json")))
        assets.append(Asset(f"{name}-config", license, (config,), "lactok.nn.continuous:check_config", 2_000))
    return TokenizerSpec(
        name=name,
        family="continuous",
        tokens=None,
        codebook_size=None,
        input_size=SIDE,
        output_size=SIDE,
        license=license,
        kind="continuous",
        options=_options(shape),
        paper=model.paper,
        assets=tuple(assets),
        note=f"continuous: {shape.channels} numbers for each {shape.downsampling}x{shape.downsampling} pixels, no ids",
    )


@register(_spec("sd-vae"), shape=MODELS["sd-vae"].shape)
@register(_spec("sd-vae-ft-mse"), shape=MODELS["sd-vae-ft-mse"].shape)
@register(_spec("sdxl-vae"), shape=MODELS["sdxl-vae"].shape)
@register(_spec("sd3-vae"), shape=MODELS["sd3-vae"].shape)
@register(_spec("flux-vae"), shape=MODELS["flux-vae"].shape)
@register(_spec("dc-ae-f32c32"), shape=MODELS["dc-ae-f32c32"].shape)
@register(_spec("dc-ae-f64c128"), shape=MODELS["dc-ae-f64c128"].shape)
@register(_spec("dc-ae-f128c512"), shape=MODELS["dc-ae-f128c512"].shape)
@register(_spec("taesd"), shape=MODELS["taesd"].shape)
@register(_spec("taesdxl"), shape=MODELS["taesdxl"].shape)
@register(_spec("taesd3"), shape=MODELS["taesd3"].shape)
@register(_spec("taef1"), shape=MODELS["taef1"].shape)
@register(_spec("vae-tiny"), shape=MODELS["vae-tiny"].shape)
class ContinuousAutoencoder(Reconstructor):
    """An autoencoder of diffusers; `shape` is its network's until its own config.json is read."""

    def __init__(self, spec: TokenizerSpec, shape: Shape):
        super().__init__(spec)
        self.shape = shape
        self.model = continuous.build(shape)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights into a network of the shape that config.json states.

        Raises:
            UserError: config.json is of another model, or the weights do not fit.
        """
        tensors, *config = assets.values()
        if config:
            found = continuous.read_config(config[0])
            expected = (self.shape.kind, self.shape.channels)
            if (found.kind, found.arguments.get("latent_channels")) != expected:
                raise UserError(
                    f"{self.spec.name}: its config.json is of a {found.kind} with "
                    f"{found.arguments.get('latent_channels')} channels, expected {expected[0]} with {expected[1]}; is "
                    "it this model's?"
                )
            with torch.device("meta"):
                self.model = continuous.build(found)
        weights.load_strict(self.model, tensors, self.spec.name)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        images = self.checked_inputs(images)
        given, values = self._checked_seeds(seeds, len(images)), self.spec.values
        width, sampled = int(values["value_bits"]), values.get("posterior") == "sample"

        def draw(shape: tuple[int, ...]) -> Tensor:
            return noise(given, shape, "posterior").to(images.device)

        # decoders such as SDXL's overflow in float16
        with exact_float32() if self.dtype == torch.float16 else self._compute():
            latents = continuous.encode(self.model, 2 * images - 1, draw if sampled else None)
            out = continuous.decode(self.model, continuous.stored(self.model, latents, width))
        bits = float(latents[0].numel() * width)
        return self._checked_images((out + 1) / 2, len(images)), torch.full((len(images),), bits, dtype=torch.float64)
