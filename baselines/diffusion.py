"""Text-to-image diffusion models that tokenizers' generators are compared with, through diffusers' own pipelines.

Their weights are folders of many files in diffusers' layout: one in a user's folder of weights, or a hub's repository.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok import weights
from lactok.device import exact_float32
from lactok.errors import UserError, WeightsNotFound, disk_errors
from lactok.randomness import noise
from lactok.registry import register_generator
from lactok.specs import GeneratorSpec, Option
from lactok.tokenizer import Generator
from lactok.weights.cache import sha256


@dataclass(frozen=True)
class Settings:
    """A published model and how it is sampled.

    Attributes:
        pipeline, scheduler: classes of diffusers.
        revision: the commit of the repository.
        steps, guidance, size: defaults of the options; size in pixels.
        gated: the hub wants its terms accepted and a login.
        gigabytes: to download, about.
        dtype: the compute dtype that suits it on a GPU.
        packed: latents go in as 2x2 patches, (B, area / 4, 4 C).
        parts: what the pipeline is made with instead of what the repository says.
    """

    name: str
    pipeline: str
    scheduler: str
    repository: str
    revision: str
    steps: int
    guidance: float
    size: int
    license: str
    gated: bool
    gigabytes: float
    dtype: str
    paper: str
    packed: bool = False
    parts: Mapping[str, object] = field(default_factory=dict)


NO_CHECKER = {"safety_checker": None, "requires_safety_checker": False}  # it would blacken pictures that are scored
NO_WATERMARK = {"add_watermarker": False}  # else it depends on whether its package is installed

MODELS = (
    # 50 steps and a guidance of 9 are what djghosh13/geneval generation/diffusers_generate.py samples these two with;
    # the size is the pipeline's own, as there
    Settings(
        "sd1.5",
        "StableDiffusionPipeline",
        "PNDMScheduler",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        steps=50,
        guidance=9.0,
        size=512,
        license="CreativeML OpenRAIL-M",
        gated=False,
        gigabytes=4.3,
        dtype="float16",
        paper="Rombach et al. 2022, arXiv 2112.10752",
        parts=NO_CHECKER,
    ),
    Settings(
        "sdxl",
        "StableDiffusionXLPipeline",
        "EulerDiscreteScheduler",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "462165984030d82259a11f4367a4eed129e94a7b",
        steps=50,
        guidance=9.0,
        size=1024,
        license="CreativeML Open RAIL++-M",
        gated=False,
        gigabytes=13.9,
        dtype="float16",
        paper="Podell et al. 2023, arXiv 2307.01952",
        parts=NO_WATERMARK,
    ),
    # 28 steps and a guidance of 7: the model card and the pipeline's defaults
    Settings(
        "sd3",
        "StableDiffusion3Pipeline",
        "FlowMatchEulerDiscreteScheduler",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "ea42f8cef0f178587cf766dc8129abd379c90671",
        steps=28,
        guidance=7.0,
        size=1024,
        license="Stability AI Community License",
        gated=True,
        gigabytes=15.5,
        dtype="float16",
        paper="Esser et al. 2024, arXiv 2403.03206",
    ),
    # 50 steps and a guidance of 3.5 (distilled: one evaluation a step): the model card
    Settings(
        "flux.1-dev",
        "FluxPipeline",
        "FlowMatchEulerDiscreteScheduler",
        "black-forest-labs/FLUX.1-dev",
        "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        steps=50,
        guidance=3.5,
        size=1024,
        license="FLUX.1 [dev] Non-Commercial License",
        gated=True,
        gigabytes=33.7,
        dtype="bfloat16",
        paper="Black Forest Labs 2024",
        packed=True,
    ),
)


BY_NAME = {model.name: model for model in MODELS}


def published(name: str) -> GeneratorSpec:
    """What is fixed about one of `MODELS`."""
    settings = BY_NAME[name]
    options = {
        "steps": Option(settings.steps, "of the sampler", 1, 1000),
        "guidance": Option(settings.guidance, "scale of guidance", 1.0, 100.0),
        "size": Option(settings.size, "side of the picture in pixels", 64, 4096, multiple=64),
    }
    checker = "its safety checker is off; " if "safety_checker" in settings.parts else ""
    return GeneratorSpec(
        settings.name,
        "diffusion",
        "text",
        settings.size,
        settings.license,
        options=options,
        paper=settings.paper,
        note=f"{checker}{settings.dtype} suits it on a GPU",
    )


@register_generator(published("sd1.5"))
@register_generator(published("sdxl"))
@register_generator(published("sd3"))
@register_generator(published("flux.1-dev"))
class Diffusion(Generator):
    """A pipeline of diffusers; its weights are loaded in the compute dtype by `place`."""

    def __init__(self, spec: GeneratorSpec, settings: Settings | None = None):
        super().__init__(spec)
        self.published = settings or BY_NAME[spec.name.partition("@")[0]]

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        import diffusers

        folder, parts = self._folder() or self._fetched(), dict(self.published.parts)
        try:
            with warnings.catch_warnings():  # older versions do not know its new name, `dtype`
                warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
                loaded = getattr(diffusers, self.published.pipeline).from_pretrained(folder, torch_dtype=dtype, **parts)
        except Exception as error:  # its errors have no common class
            text = " ".join(str(error).split())
            raise UserError(
                f"{self.spec.name}: {folder} cannot be loaded ({text}); if its files are damaged, get them anew"
            ) from error
        scheduler = getattr(diffusers, self.published.scheduler)
        loaded.scheduler = scheduler.from_config(loaded.scheduler.config)
        loaded.set_progress_bar_config(disable=True)
        self.pipeline = loaded.to(device)
        self.dtype = dtype

    def settings(self) -> dict[str, Any]:
        model, folder = self.published, self._folder()
        if folder is None:
            found: Any = [model.repository, model.revision]
        else:
            found = {str(path.relative_to(folder)): sha256(path) for path in _files(folder)}
        return {"pipeline": model.pipeline, "scheduler": model.scheduler, "weights": found}

    @property
    def device(self) -> torch.device:
        return torch.device(self.pipeline.device)

    def _compute(self) -> AbstractContextManager[object]:
        return exact_float32()  # the weights are of the compute dtype, and the pipeline knows where not to be

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        values = self.spec.values
        made = self.pipeline(
            conditions,
            height=self.spec.output_size,
            width=self.spec.output_size,
            latents=self._latents(seeds),
            num_inference_steps=int(values["steps"]),
            guidance_scale=float(values["guidance"]),
            output_type="pt",
        )
        return made.images

    def _latents(self, seeds: Tensor) -> Tensor:
        """The noise that the sampler begins with, as the pipeline takes it."""
        side = self.spec.output_size // self.pipeline.vae_scale_factor
        network = self.pipeline.unet if hasattr(self.pipeline, "unet") else self.pipeline.transformer
        channels = network.config.in_channels // (4 if self.published.packed else 1)
        start = noise(seeds, (channels, side, side), "start")
        if self.published.packed:
            start = F.pixel_unshuffle(start, 2).flatten(2).mT  # (B, area / 4, 4 C)
        return start.to(self.device, self.dtype)

    def _folder(self) -> Path | None:
        """The user's: NAME/ or, as `hf download` is often used, REPOSITORY/ in a folder of weights."""
        names = (self.published.name, self.published.repository.rpartition("/")[2])
        folders = (folder / name for folder in weights.user_folders() for name in names)
        return next((folder for folder in folders if (folder / "model_index.json").is_file()), None)

    def _fetched(self) -> Path:
        """The repository in huggingface_hub's cache, fetched if need be; raises WeightsNotFound."""
        import diffusers

        model = self.published
        pipeline = getattr(diffusers, model.pipeline)
        try:
            with disk_errors("huggingface_hub's cache", "set HF_HOME to another folder"):
                return Path(pipeline.download(model.repository, revision=model.revision, **model.parts))
        except UserError:
            raise
        except Exception as error:
            why = _reason(error)
        gated = "accept its terms on the hub, log in with `hf auth login`, then " if model.gated else ""
        raise WeightsNotFound(
            f"weights not found: {model.name} ({model.gigabytes:.1f} GB, {model.license}); tried "
            f"hub:{model.repository}@{model.revision[:8]} ({why}); {gated}get it with `hf download {model.repository} "
            f"--local-dir FOLDER/{model.name}` and name FOLDER by --weights or LACTOK_WEIGHTS"
        )


def _files(folder: Path) -> Iterator[Path]:
    """What a pipeline may read, without huggingface_hub's own notes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _reason(error: BaseException) -> str:
    """Why the hub did not give a repository: the first of the chain of causes that speaks of the hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    from lactok.weights.hub import explained

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for one in chain:
        # "not in the cache" is what comes of it, not the reason
        if not isinstance(one, LocalEntryNotFoundError) and type(one) is not OSError and (why := explained(one)):
            return str(why)
    return " ".join(str(error).split())
