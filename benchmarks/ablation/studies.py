"""The ablation studies: the variants that each compares, and where the published numbers of each variant stand.

`components` and `tokens` are Tables 4 and 5 of arXiv 2503.08377. `steps` is not in the paper: it sets quality against
decode time for different numbers of sampler steps and sizes of the output, all decoded from the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OTHER_SCALE = 0.8
COND_SCALE_NOTE = (
    "LaCTok is measured with cond_scale 1, the default of its authors' decode_quant, where its name does not say "
    "otherwise; their demo and the evaluation code that theirs comes from (apple/ml-4m) have 0.8, and the paper does "
    "not say which it has. The other is measured by name, as in lactok-t-star@cond_scale=0.8."
)
SUFFIX = {"tiny": "-tiny", "full": ""}  # of the tokenizers' names, by the scale of the models


@dataclass(frozen=True)
class Variant:
    """A row of a study.

    Attributes:
        label: what the table calls it.
        tokenizer: name of the tokenizer, without the suffix of the scale; empty if there is none of the paper's size.
        published: key of its row in the published table, if it has one.
        options: options of the tokenizer.
        times_size: side of the output image, as a multiple of the tokenizer's usual output size.
        times_input: side of the encoder's input, as a multiple of the tokenizer's usual one.
        tiny: name of the small tokenizer, where it is not that of the full one with "-tiny".
    """

    label: str
    tokenizer: str
    published: str | None = None
    options: Mapping[str, int] = field(default_factory=dict)
    times_size: float = 1.0
    times_input: float = 1.0
    tiny: str = ""

    def name(self, scale: str) -> str:
        """Return the name of the tokenizer at a scale, a key of `SUFFIX`, without options; "" if there is none."""
        if scale == "tiny" and self.tiny:
            return self.tiny
        return self.tokenizer and self.tokenizer + SUFFIX[scale]


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        title: in words, for the output.
        rows: the variants that it compares.
        table: name of the published table in `benchmarks.published`; "" if there is none.
        timed: whether the time of decoding is measured too.
    """

    title: str
    rows: tuple[Variant, ...]
    table: str = ""
    timed: bool = False

    def rows_of(self, scale: str) -> tuple[Variant, ...]:
        """Return the variants that there are at a scale, a key of `SUFFIX`."""
        return tuple(row for row in self.rows if row.name(scale))


STUDIES = {
    "components": Study(
        "Table 4: components",
        (
            Variant("LlamaGen, enlarged", "llamagen-vq16", "llamagen", tiny="llamagen-vq4-tiny"),
            Variant("plain decoder, the control", "", tiny="plain-decoder-tiny"),
            Variant("VQ-LADD, DDIM 25 steps", "vq-ladd", "vq-ladd (25-step DDIM)"),
            Variant("VQ-LADD + Hyper-SD, 1 step", "vq-ladd-h", "vq-ladd+hypersd (1 step)"),
            Variant("VQ-LADD + TLCM, 3 steps", "vq-ladd-t", "vq-ladd+tlcm (3 steps)"),
            Variant("LaCTok-H", "lactok-h", "lactok-h"),
            Variant("LaCTok-T, 3 steps", "", tiny="lactok-t-tiny"),
        ),
        "ablation_components_mjhq5k",
    ),
    "tokens": Study(
        "Table 5: tokens of LaCTok-H",
        (
            Variant("196 tokens (the paper prints 192)", "lactok-h", "192", times_input=7 / 8),
            Variant("256 tokens", "lactok-h", "256"),
            Variant("324 tokens", "lactok-h", "324", times_input=9 / 8),
        ),
        "ablation_tokens_mjhq5k",
    ),
    "steps": Study(
        "Steps and output sizes, from the same ids",
        (
            Variant("LaCTok-H, 1 step", "lactok-h"),
            *(Variant(f"LaCTok-T, steps: {n}", "lactok-t", options={"steps": n}) for n in (1, 2, 3, 4)),
            *(Variant(f"LaCTok-H, {x:g} x the size", "lactok-h", times_size=x) for x in (0.5, 1.5, 2)),
            *(Variant(f"LaCTok-T, {x:g} x the size", "lactok-t", times_size=x) for x in (0.5, 1.5, 2)),
        ),
        timed=True,
    ),
}


def names(study: Study, scale: str) -> list[str]:
    """Return the canonical names of a study's tokenizers at a scale, with options, one per row of `Study.rows_of`.

    Args:
        scale: of the models, a key of `SUFFIX`.
    """
    from lactok import registry

    found = []
    for row in study.rows_of(scale):
        spec = registry.tokenizer_spec(row.name(scale))
        options = dict(row.options)
        if row.times_size != 1:
            options["size"] = round((spec.output_size or 0) * row.times_size)
        if row.times_input != 1:
            options["input"] = round((spec.input_size or 0) * row.times_input)
        found.append(spec.named(**options))
    return found
