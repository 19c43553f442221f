"""Text-to-image diffusion models, run by diffusers' own pipelines, as baselines for generators built on tokenizers.

The weights of such a model are a folder of many files in diffusers' layout. It is taken from the user's folders of
weights if it is there, else downloaded from the Hugging Face hub.
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
class PublishedModel:
    """A published diffusion model and how it is sampled.

    Attributes:
        pipeline, scheduler: names of the classes of diffusers that run and sample it.
        repository, revision: the repository on the Hugging Face hub and the commit that is used.
        steps: default number of sampling steps.
        guidance: default scale of classifier-free guidance.
        size: default side of the image in pixels.
        gated: whether the hub asks for a login and for its terms to be accepted.
        gigabytes: approximate size of the download.
        dtype: the compute dtype to prefer on a GPU.
        packed: whether the network takes its latents as a sequence of 2x2 patches, (B, h * w / 4, 4 * C), instead of
            a map (B, C, h, w).
        parts: arguments that replace parts of the pipeline that the repository would load.
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


# the checker would replace images that are scored by black ones
NO_CHECKER = {"safety_checker": None, "requires_safety_checker": False}
# otherwise the images would differ with whether the watermark's package is installed
NO_WATERMARK = {"add_watermarker": False}

MODELS = (
    # GenEval samples these two with 50 steps, a guidance scale of 9 and the pipeline's default size
    # (djghosh13/geneval, generation/diffusers_generate.py)
    PublishedModel(
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
    PublishedModel(
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
    # 28 steps and a guidance scale of 7 are the model card's and the pipeline's defaults
    PublishedModel(
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
    # 50 steps and a guidance scale of 3.5 are the model card's; the scale is an input of this distilled network, which
    # is therefore evaluated once a step
    PublishedModel(
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


def _spec(name: str) -> GeneratorSpec:
    """Return the spec of one of `MODELS`."""
    model = BY_NAME[name]
    options = {
        "steps": Option(model.steps, "number of sampling steps", 1, 1000),
        "guidance": Option(model.guidance, "scale of classifier-free guidance", 1.0, 100.0),
        "size": Option(model.size, "side of the image in pixels", 64, 4096, multiple=64),
    }
    checker = "its safety checker is off; " if "safety_checker" in model.parts else ""
    return GeneratorSpec(
        model.name,
        "diffusion",
        "text",
        model.size,
        model.license,
        options=options,
        paper=model.paper,
        note=f"{checker}{model.dtype} suits it on a GPU",
    )


@register_generator(_spec("sd1.5"))
@register_generator(_spec("sdxl"))
@register_generator(_spec("sd3"))
@register_generator(_spec("flux.1-dev"))
class Diffusion(Generator):
    """A pipeline of diffusers, made only in `place`, because it loads its weights in the compute dtype.

    Args:
        spec: the generator's spec.
        published: the model that runs; by default the one of `MODELS` that has the spec's name.
    """

    def __init__(self, spec: GeneratorSpec, published: PublishedModel | None = None):
        super().__init__(spec)
        self.published = published or BY_NAME[spec.name.partition("@")[0]]

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Load the pipeline in the compute dtype `dtype` and move it to `device`.

        Raises:
            WeightsNotFound: the weights are neither in the user's folders nor to be had from the hub.
            UserError: the folder of weights cannot be loaded.
        """
        import diffusers

        folder = self._user_folder() or self._hub_folder()
        parts = dict(self.published.parts)
        try:
            # diffusers' new name of the argument, `dtype`, is unknown to its older versions
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
                loaded = getattr(diffusers, self.published.pipeline).from_pretrained(folder, torch_dtype=dtype, **parts)
        except Exception as error:  # diffusers' errors have no common base class
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
        """Return the pipeline, the scheduler and the weights: sha256 of a user's files, or the hub's revision."""
        model = self.published
        folder = self._user_folder()
        if folder is None:
            found: Any = [model.repository, model.revision]
        else:
            found = {str(path.relative_to(folder)): sha256(path) for path in _pipeline_files(folder)}
        return {"pipeline": model.pipeline, "scheduler": model.scheduler, "weights": found}

    @property
    def device(self) -> torch.device:
        """The device that the pipeline computes on."""
        return torch.device(self.pipeline.device)

    def _compute(self) -> AbstractContextManager[object]:
        # no autocast: the weights already have the compute dtype, and the pipeline itself keeps float32 where it must
        return exact_float32()

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
        """Seeds (B,) -> the initial noise of the sampler in the layout that the pipeline takes."""
        side = self.spec.output_size // self.pipeline.vae_scale_factor
        network = self.pipeline.unet if hasattr(self.pipeline, "unet") else self.pipeline.transformer
        channels = network.config.in_channels
        if not self.published.packed:
            start = noise(seeds, (channels, side, side), "start")
        else:  # each of the network's inputs is a patch of 2x2 latents
            start = noise(seeds, (channels // 4, side, side), "start")
            start = F.pixel_unshuffle(start, 2).flatten(2).mT  # (B, side * side / 4, channels)
        return start.to(self.device, self.dtype)

    def _user_folder(self) -> Path | None:
        """Find NAME/ or REPOSITORY/, the folder that `hf download` suggests, in the user's folders of weights."""
        for folder in weights.user_folders():
            for name in (self.published.name, self.published.repository.rpartition("/")[2]):
                if (folder / name / "model_index.json").is_file():
                    return folder / name
        return None

    def _hub_folder(self) -> Path:
        """Return the repository's folder in huggingface_hub's cache, after a download if it is not there yet.

        Raises:
            WeightsNotFound: the hub does not give it.
        """
        import diffusers

        model = self.published
        pipeline = getattr(diffusers, model.pipeline)
        try:
            with disk_errors("huggingface_hub's cache", "set HF_HOME to another folder"):
                return Path(pipeline.download(model.repository, revision=model.revision, **model.parts))
        except UserError:
            raise
        except Exception as error:
            why = _failure_reason(error)
        gated = "accept its terms on the hub, log in with `hf auth login`, then " if model.gated else ""
        raise WeightsNotFound(
            f"weights not found: {model.name} ({model.gigabytes:.1f} GB, {model.license}); tried "
            f"hub:{model.repository}@{model.revision[:8]} ({why}); {gated}get it with `hf download {model.repository} "
            f"--local-dir FOLDER/{model.name}` and name FOLDER by --weights or LACTOK_WEIGHTS"
        )


def _pipeline_files(folder: Path) -> Iterator[Path]:
    """Yield the files that a pipeline may read; huggingface_hub keeps notes of its own in hidden ones."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _failure_reason(error: BaseException) -> str:
    """Say why the hub did not give a repository: the first error in the chain of causes that comes from the hub."""
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    from lactok.weights.hub import explained

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    cause: BaseException | None = error
    while cause is not None:
        # "not in the cache" and a plain OSError are consequences of a failed download, not its reason
        if not isinstance(cause, LocalEntryNotFoundError) and type(cause) is not OSError:
            explanation = explained(cause)
            if explanation:
                return str(explanation)
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())
