"""Which model stands for which system of the paper, by the scale, and where a published number is measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks import published
from benchmarks.ablation.studies import STUDIES, SUFFIX, names
from benchmarks.table3.systems import GENERATORS
from lactok import registry
from lactok.errors import UserError
from lactok.evaluation.results import Result
from lactok.metrics.registry import Metric
from reports.tables.measured import SECONDS
from reports.tables.paper import GENEVAL, PREFERENCE, RECON

PHOTOGRAPHS, SCENES = "photographs", "scenes"  # the small run's data sets
GENERATED = "geneval", "preference"  # what generated pictures are measured by: GenEval, and rewards

# the small models that the ablation studies do not name
SMALL_TOKENIZERS = {
    "seedtok+": "seedtok-tiny",
    "titok-s128": "titok-s128-tiny",
    "flextok": "flextok-tiny",
    "lactok-t*": "lactok-t-tiny",
}
SMALL_GENERATORS = {
    "llamagen": "llamagen-t2i-tiny",
    "lactokgen-h": "lactokgen-h-tiny",
    "lactokgen-t*": "lactokgen-t-tiny",
}
CONTROL = "plain decoder"  # the same ids and training without a diffusion model; not in the paper
STEPS = (1, 2, 3)

# the data set that a published table's numbers are measured on, by the scale
DATASETS = {
    "full": {
        "recon_imagenet": "imagenet",
        "recon_coco": "coco",
        "recon_mjhq": "mjhq",
        "recon_flux5k": "flux5k",
        "ablation_components_mjhq5k": "mjhq",
        "ablation_tokens_mjhq5k": "mjhq",
    },
    "tiny": {
        "recon_imagenet": PHOTOGRAPHS,
        "recon_coco": PHOTOGRAPHS,
        "recon_mjhq": SCENES,
        "recon_flux5k": SCENES,
        "ablation_components_mjhq5k": PHOTOGRAPHS,
        "ablation_tokens_mjhq5k": PHOTOGRAPHS,
    },
}

# a published column -> what measures it, and the metric
QUANTITIES: dict[str, tuple[str, Metric]] = {
    **{c.published: ("recon", c.metric) for c in RECON if c.key in ("rfid", "psnr", "ssim", "lpips_vgg")},
    **{c.published: ("geneval", c.metric) for c in GENEVAL},
    **{c.key: ("preference", c.metric) for c in PREFERENCE if c.key in ("image_reward", "mps", "hpsv2")},
    "seconds": ("geneval", SECONDS),
}
# rewards were taught by photographs and their captions; of small pictures it is judged what they show instead
INSTEAD = {"tiny": dict.fromkeys(("image_reward", "mps", "hpsv2"), "geneval_overall"), "full": {}}


def tokenizers(scale: str) -> dict[str, str]:
    """Return the names of tokenizers by the paper's names of them: the keys of published tables, and a few more.

    Args:
        scale: "tiny" or "full".
    """
    found = dict(published.TOKENIZERS) if scale == "full" else dict(SMALL_TOKENIZERS)
    for study in (STUDIES["components"], STUDIES["tokens"]):
        for row, name in zip(study.rows_of(scale), names(study, scale), strict=True):
            if row.published:
                found[row.published] = name
            elif name.startswith("plain-decoder"):
                found[CONTROL] = name
    if scale == "tiny":
        found["lactok-h*"] = found["lactok-h"]  # the small ones of H and T are trained on the same data
    sampler = registry.tokenizer_spec(f"lactok-t{SUFFIX[scale]}")
    return found | {steps_key(n): sampler.named(steps=n) for n in STEPS}


def steps_key(steps: int) -> str:
    """Return what claims call LaCTok-T with so many steps of its sampler."""
    return f"lactok-t, {steps} {'step' if steps == 1 else 'steps'}"


def generators(scale: str) -> dict[str, str]:
    """Return the names of generators by their keys in Table 3, and of LaCTokGen-T* by scale of guidance in Table 6.

    Args:
        scale: "tiny" or "full".
    """
    found = {s.key: s.name for s in GENERATORS} if scale == "full" else dict(SMALL_GENERATORS)
    swept = found["lactokgen-t*"]
    for value in published.table("ablation_cfg_coco5k").rows:
        name = f"{swept}@guidance={value}"
        with suppress(UserError):  # there is no such generator, or it has no guidance; measuring says so
            name = registry.generator_spec(name).name
        found[guidance_key(value)] = name
    return found


def guidance_key(value: str) -> str:
    """Return what claims call LaCTokGen-T* with this scale of its guidance."""
    return f"guidance {value}"


def printed_key(key: str) -> str:
    """Return the key of a system's row in its published table."""
    return key.removeprefix("guidance ")


@dataclass
class Found:
    """The results that tables and claims are made from.

    Attributes:
        scale: "tiny" or "full".
        tokenizers: names of tokenizers by the paper's names of the systems, see `tokenizers`.
        generators: names of generators by the paper's, see `generators`; "llamagen", for one, is in both.
        results: by where they were measured (a data set, or one of `GENERATED`) and the model's name.
        reasons: why there is no result, by the same; an entry of ("", name) is for all places.
        places: the data sets in words, with the number of images, by their names here.
    """

    scale: str
    tokenizers: Mapping[str, str]
    generators: Mapping[str, str]
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def place(self, table: str, column: str) -> tuple[str, Metric]:
        """Return where a published table's column is measured at this scale, and the metric."""
        kind, metric = QUANTITIES[INSTEAD[self.scale].get(column, column)]
        return (DATASETS[self.scale][table] if kind == "recon" else kind), metric

    def at(self, place: str, name: str) -> tuple[Result | None, str]:
        """Return a model's result and "", or None and why there is none."""
        result = self.results.get((place, name))
        if result is not None:
            return result, ""
        why = self.reasons.get((place, name)) or self.reasons.get(("", name)) or "not run"
        return None, why if why.startswith(("not run", "weights missing", "run, but")) else f"not run: {why}"

    def name(self, place: str, key: str) -> str:
        """Return the model that stands for a system of the paper where it is measured, "" where there is none."""
        return (self.generators if place in GENERATED else self.tokenizers).get(key, "")

    def of(self, place: str, key: str) -> tuple[Result | None, str]:
        """Return the result of a system of the paper, see `at`."""
        name = self.name(place, key)
        return (None, f"no model of this scale stands for {key}") if not name else self.at(place, name)
