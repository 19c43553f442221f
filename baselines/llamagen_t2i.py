"""LlamaGen's and LaCTok's generators from text: one transformer over ids, decoded by their tokenizers.

The transformer is `lactok.nn.gpt.GPT`. Sources: FoundationVision/LlamaGen `autoregressive/sample/sample_t2i.py` (Sun et
al. 2024) and Alpha-X-95/LaCToK `demo.py` (Xie et al. 2025).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor

from baselines.id_generator import IdGenerator
from lactok.device import exact_float32
from lactok.nn import few_rows
from lactok.nn.gpt import GPT, GPTConfig, left_padded
from lactok.nn.gpt_decoding import Prefix
from lactok.nn.gpt_graphs import decoder_of
from lactok.nn.loading import Texts
from lactok.nn.recognise import load_strict
from lactok.nn.t5 import PARTS, TOKENIZER, CaptionFeatures, T5Config, T5Encoder, clean, encoder_tensors
from lactok.nn.token_sampling import Sampling
from lactok.registry import register_generator
from lactok.specs import Asset, GeneratorSpec, Hub, Option
from lactok.weights.metadata import bundled_shape

LACTOK = "OPPOer/LaCTok"  # the address that the authors' README names; its files were not opened here
GPT_SIZE = 3_111_000_000
NO_ADDRESS = "its authors (github Alpha-X-95/LaCToK) name no address for it; they publish lactokgen-t-star"


def _spec(
    name: str,
    tokenizer: str,
    size: int,
    asset: Asset,
    how: Sampling,
    paper: str,
    note: str = "",
    text: tuple[Asset, ...] = (*PARTS, TOKENIZER),
    codes: int = 16384,
) -> GeneratorSpec:
    """Return the spec of a generator.

    Args:
        name, tokenizer, size, paper, note: as of `GeneratorSpec`.
        asset: its own file.
        how: the defaults of its options.
        text: the text encoder's files, its text tokenizer last.
        codes: number of the tokenizer's codes.
    """
    return GeneratorSpec(
        name,
        "llamagen" if name.startswith("llamagen") else "lactok",
        "text",
        size,
        asset.license,
        tokenizer=tokenizer,
        options={
            "guidance": Option(how.guidance, "scale of classifier-free guidance; 1 switches it off", 1.0, 100.0),
            "temperature": Option(how.temperature, "of the draws; 0 takes the likeliest id", 0.0, 100.0),
            "top_k": Option(how.top_k, "draw from this many codes; 0 for all", 0, codes),
            "top_p": Option(how.top_p, "draw from the codes that have this share of the probability", 0.0, 1.0),
            "cfg_interval": Option(how.interval, "last guided step; -1 for all", -1, 100_000),
        },
        paper=paper,
        assets=(asset, *text),
        note=note,
    )


def _llamagen(name: str, size: int, file: str) -> GeneratorSpec:
    asset = Asset(name, "MIT", (Hub("peizesun/llamagen_t2i", file),), size=GPT_SIZE)
    tokenizer = "llamagen-vq16-t2i" if size == 256 else f"llamagen-vq16-t2i@input={size}"
    return _spec(name, tokenizer, size, asset, Sampling(), "Sun et al. 2024, arXiv 2406.06525")


def _lactokgen(name: str, tokenizer: str, *sources: Hub) -> GeneratorSpec:
    note = "" if sources else NO_ADDRESS
    asset = Asset(name, "the authors state no licence", sources, size=GPT_SIZE, note=note)
    # the demo's guidance and temperature
    how = Sampling(guidance=2.0, temperature=0.1)
    said = "its file was not opened here: that it is this model is inferred" if sources else ""
    return _spec(name, tokenizer, 1024, asset, how, "Xie et al. 2025, arXiv 2503.08377", said)


def _small(name: str, tokenizer: str, file: str) -> GeneratorSpec:
    """Return the spec of a small generator of composed scenes, whose transformer is the file `file`."""
    text = (Asset("scenes-text", "MIT"), Asset("scenes-text-words", "MIT"))
    codes = bundled_shape(file, "model", GPTConfig).codebook_size
    how = Sampling(guidance=1.5, temperature=0.7, top_k=0)  # of a few that were tried, the ones that obey best
    paper = "Sun et al. 2024, arXiv 2406.06525" if name.startswith("llamagen") else "Xie et al. 2025, arXiv 2503.08377"
    size = 96 if name.startswith("llamagen") else 256
    note = "trained here on composed scenes and their captions"
    return _spec(name, tokenizer, size, Asset(file, "MIT"), how, paper, note, text, codes)


TEXT = bundled_shape("scenes-text", "model", T5Config)
KEPT = 256  # captions that are kept as they were read
SMALL = GPTConfig()
LARGE = replace(SMALL, image_tokens=1024)
LACTOKGEN = bundled_shape("lactokgen-tiny", "model", GPTConfig)
LLAMAGEN = bundled_shape("llamagen-t2i-tiny", "model", GPTConfig)


@register_generator(_llamagen("llamagen-t2i-256", 256, "t2i_XL_stage1_256.pt"))
@register_generator(_llamagen("llamagen-t2i-512", 512, "t2i_XL_stage2_512.pt"), config=LARGE)
@register_generator(_lactokgen("lactokgen-h", "lactok-h@cond_scale=0.8"))
@register_generator(_lactokgen("lactokgen-h-star", "lactok-h-star@cond_scale=0.8"))
@register_generator(_lactokgen("lactokgen-t-star", "lactok-t-star@cond_scale=0.8", Hub(LACTOK, "LaCTokGen-T.pth")))
@register_generator(_small("lactokgen-h-tiny", "lactok-h-scenes", "lactokgen-tiny"), config=LACTOKGEN, text=TEXT)
@register_generator(
    _small("lactokgen-t-tiny", "lactok-t-scenes@steps=2", "lactokgen-tiny"), config=LACTOKGEN, text=TEXT
)
@register_generator(_small("lactokgen-tiny", "lactok-t-scenes@steps=2", "lactokgen-tiny"), config=LACTOKGEN, text=TEXT)
@register_generator(
    _small("llamagen-t2i-tiny", "llamagen-vq4-scenes@input=96", "llamagen-t2i-tiny"), config=LLAMAGEN, text=TEXT
)
class TextToIds(IdGenerator):
    """A caption's features, then one id after the other.

    Args:
        spec: the generator's spec.
        config: shape of the transformer.
        text: shape of the text encoder.
    """

    batches_on_cpu = True  # a step reads all weights, for one image or for several

    def __init__(self, spec: GeneratorSpec, config: GPTConfig = SMALL, text: T5Config | None = None):
        super().__init__(spec)
        self.model = GPT(config)
        self.text = T5Encoder(text or T5Config())
        values = spec.values
        self.how = Sampling(
            float(values["guidance"]),
            float(values["temperature"]),
            int(values["top_k"]),
            float(values["top_p"]),
            int(values["cfg_interval"]),
        )

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the transformer, the text encoder's files, and the text tokenizer."""
        own, *parts, _ = assets.values()
        load_strict(self.model, own, self.spec.name)
        text = "flan-t5-xl" if self.spec.assets[1] in PARTS else self.spec.assets[1].name
        load_strict(self.text.encoder, encoder_tensors(parts), text)

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move the transformer to `device`; the text encoder stays in main memory until it computes."""
        self.captions = CaptionFeatures(self.text, self._texts())
        self.model.compute_in(dtype)
        super().place(device, dtype)
        few_rows.prepare(self.model)
        self.decoder = decoder_of(self.model)
        self._known: dict[str, tuple[Prefix, Prefix | None]] = {}

    def _compute(self) -> AbstractContextManager[object]:
        """Return the context of exact float32; the transformer's weights are in the compute dtype themselves."""
        return exact_float32()

    def compile_steps(self) -> None:
        """Compile the step that makes an id of the ids before it."""
        self.decoder.compile()

    def _prepare(self, conditions: list[str] | list[int]) -> None:
        """Read captions, each once for all its images."""
        wanted = dict.fromkeys(map(str, conditions))
        missing = [caption for caption in wanted if caption not in self._known]
        if not missing:
            return
        surplus = len(self._known) + len(missing) - KEPT
        for old in [known for known in self._known if known not in wanted][: max(0, surplus)]:
            del self._known[old]
        for caption, feature, mask in zip(missing, *left_padded(*self.captions(missing, self.device)), strict=True):
            # one by one, so that the captions beside it do not change the last bits
            prefix = self.decoder.prefix(feature[None], mask[None])
            without = self.decoder.without_caption(mask[None], 1) if self.how.guidance > 1 else None
            self._known[caption] = prefix, without

    def read_captions(self, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return features (B, T, C) float32 and mask (B, T) of captions, padding at the front."""
        return left_padded(*CaptionFeatures(self.text, self._texts())(captions, device))

    def _texts(self) -> Texts:
        return Texts(self.spec.assets[-1], self.model.config.text_tokens, "<pad>")

    def cut_captions(self, captions: Sequence[str]) -> tuple[int, list[str]]:
        """Return how many tokens of a caption are read, and the captions that have more."""
        flags = self._texts().is_cut([clean(caption) for caption in captions])
        return self.model.config.text_tokens, [
            caption for caption, is_cut in zip(captions, flags, strict=True) if is_cut
        ]

    def _ids(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        self._prepare(conditions)
        found = [self._known[str(caption)] for caption in conditions]
        without = [empty for _, empty in found if empty is not None]
        prefix = Prefix.joined([caption for caption, _ in found])
        return self.decoder.generate(prefix, Prefix.joined(without) if without else None, seeds, self.how)
