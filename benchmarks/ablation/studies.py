"""The ablation studies: which variants they have and where their published rows stand.

`components` and `tokens` are Tables 4 and 5 of arXiv 2503.08377; `steps` is not in the paper: quality against time over
the sampler's steps and over the output's size, all from the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SUFFIX = {"tiny": "-tiny", "full": ""}


@dataclass(frozen=True)
class Variant:
    """A row: its label, the tokenizer without the scale's suffix, its options, the key of the published row.

    `times_size` is its output's side, as a multiple of the tokenizer's own.
    """

    label: str
    tokenizer: str
    published: str | None = None
    options: Mapping[str, int] = field(default_factory=dict)
    times_size: float = 1.0


@dataclass(frozen=True)
class Study:
    """`table`: the published table; `timed`: the time of decoding is measured too."""

    title: str
    rows: tuple[Variant, ...]
    table: str = ""
    timed: bool = False


STUDIES = {
    "components": Study(
        "Table 4: components",
        (
            Variant("LlamaGen", "llamagen-vq16", "llamagen"),
            Variant("VQ-LADD, DDIM 25 steps", "vq-ladd", "vq-ladd (25-step DDIM)"),
            Variant("VQ-LADD + Hyper-SD, 1 step", "vq-ladd-h", "vq-ladd+hypersd (1 step)"),
            Variant("VQ-LADD + TLCM, 3 steps", "vq-ladd-t", "vq-ladd+tlcm (3 steps)"),
            Variant("LaCTok-H", "lactok-h", "lactok-h"),
        ),
        "ablation_components_mjhq5k",
    ),
    "tokens": Study(
        "Table 5: tokens of LaCTok-H",
        (
            Variant("196 tokens (the paper prints 192)", "lactok-h", "192", {"input": 224}),
            Variant("256 tokens", "lactok-h", "256"),
            Variant("324 tokens", "lactok-h", "324", {"input": 288}),
        ),
        "ablation_tokens_mjhq5k",
    ),
    "steps": Study(
        "Steps and output sizes, from the same ids",
        (
            Variant("LaCTok-H, 1 step", "lactok-h"),
            *(Variant(f"LaCTok-T, steps: {n}", "lactok-t", options={"steps": n}) for n in (1, 2, 3, 4)),
            *(
                Variant(f"LaCTok-{x.upper()}, {factor:g} x the size", f"lactok-{x}", times_size=factor)
                for x in "ht"
                for factor in (0.5, 1.5, 2)
            ),
        ),
        timed=True,
    ),
}


def names(study: Study, scale: str) -> list[str]:
    """The study's tokenizers, canonical names, in its order."""
    from lactok import registry

    found = []
    for row in study.rows:
        spec = registry.tokenizer_spec(row.tokenizer + SUFFIX[scale])
        sized = {} if row.times_size == 1 else {"size": round((spec.output_size or 0) * row.times_size)}
        found.append(spec.named(**row.options, **sized))
    return found
