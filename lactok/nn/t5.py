"""The text encoder of LlamaGen and LaCTokGen: Flan-T5-XL's encoder, 120 features of a caption.

Source: FoundationVision/LlamaGen `language/t5.py`: captions are cleaned twice, cut or padded to 120 tokens, the end
included, and encoded in float32. The cleaning is DeepFloyd's, as diffusers has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lactok.config import Config
from lactok.device import exact_float32
from lactok.nn.loading import Texts, tell_cut
from lactok.specs import Asset, Hub

REPOSITORY = "google/flan-t5-xl"
PARTS = tuple(  # the files hold encoder and decoder, 11.4 GB; the encoder's 4.9 GB are kept
    Asset(f"flan-t5-xl-{number}", "Apache-2.0", (Hub(REPOSITORY, file),), "lactok.nn.t5:convert", size)
    for number, file, size in (
        (1, "model-00001-of-00002.safetensors", 9_450_000_000),
        (2, "model-00002-of-00002.safetensors", 1_950_000_000),
    )
)
TOKENIZER = Asset("flan-t5-xl-tokenizer", "Apache-2.0", (Hub(REPOSITORY, "tokenizer.json"),), size=2_420_000)
TOKENS = 120
LONGEST = 20_000  # characters of a caption that are cleaned: the time grows with the square of a word's length


@dataclass(frozen=True)
class T5Config(Config):
    """Shape of T5's encoder; the defaults are Flan-T5-XL's.

    Attributes:
        width, layers, heads, hidden: of the transformer; `hidden` is the width inside a block's feed-forward.
        head_width: channels of a head.
        vocabulary: number of token embeddings.
    """

    width: int = 2048
    layers: int = 24
    heads: int = 32
    head_width: int = 64
    hidden: int = 5120
    vocabulary: int = 32128


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's tensors of an official file."""
    return {name: tensor for name, tensor in tensors.items() if not left_out(name)}


def left_out(name: str) -> str:
    """Return why loading leaves a tensor out, "" for one that is loaded."""
    return "" if name == "shared.weight" or name.startswith("encoder.") else "the decoder, which nothing here needs"


def clean(caption: str) -> str:
    """Clean a caption as DeepFloyd's code does, twice: lower case, no addresses, tags, hash marks, picture sizes.

    Of a caption of more than `LONGEST` characters only those are looked at.

    >>> clean("A RED   bus on #green grass")
    'a red bus on green grass'
    """
    from diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha import PixArtAlphaPipeline

    caption = caption[:LONGEST]
    for _ in range(2):
        caption = PixArtAlphaPipeline._clean_caption(PixArtAlphaPipeline, caption)
    return caption


class T5Encoder(nn.Module):
    """Token ids and mask (B, T) -> features (B, T, width)."""

    def __init__(self, config: T5Config):
        from transformers import T5Config as Shape
        from transformers import T5EncoderModel

        super().__init__()
        self.encoder = T5EncoderModel(
            Shape(
                vocab_size=config.vocabulary,
                d_model=config.width,
                d_kv=config.head_width,
                d_ff=config.hidden,
                num_layers=config.layers,
                num_heads=config.heads,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
            )
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def encoder_tensors(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of an encoder's files under all their names: the embedding has two, files have one."""
    tensors = {name: tensor for part in parts for name, tensor in part.items()}
    if "shared.weight" in tensors:
        tensors.setdefault("encoder.embed_tokens.weight", tensors["shared.weight"])
    return tensors


def encoded(encoder: T5Encoder, texts: Texts, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return features (B, T, width) float32 and mask (B, T) of cleaned captions on the CPU, the valid ones first.

    They are computed in float32, as the original does.

    Args:
        encoder: the text encoder, on `device`.
        texts: the text tokenizer.
    """
    ids, mask = texts(list(captions), str(device))
    with exact_float32(), torch.autocast(device.type, enabled=False):
        return encoder(ids, mask).float().cpu(), mask.cpu()


class CaptionFeatures:
    """Features of captions, kept by caption, so that each is computed once for all its images.

    Args:
        encoder: the text encoder in main memory; the device has it only while it computes.
        texts: the text tokenizer.
        keep: number of captions whose features are kept.
    """

    def __init__(self, encoder: T5Encoder, texts: Texts, keep: int = 256):
        self.encoder = encoder
        self.texts = texts
        self.keep = keep
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return features (B, T, width) float32 and mask (B, T), the valid features first."""
        self.prepare(captions, device)
        found = [self._known[caption] for caption in captions]
        return torch.stack([f for f, _ in found]).to(device), torch.stack([m for _, m in found]).to(device)

    def prepare(self, captions: Sequence[str], device: torch.device, batch: int = 16) -> None:
        """Compute the features of captions that are not known yet; then the encoder leaves the device."""
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if not missing:
            return
        surplus = len(self._known) + len(missing) - self.keep
        for old in [known for known in self._known if known not in captions][: max(0, surplus)]:
            del self._known[old]
        cleaned = {caption: clean(caption) for caption in missing}
        flags = self.texts.is_cut(list(cleaned.values()))
        cut = [caption for caption, is_cut in zip(missing, flags, strict=True) if is_cut]
        tell_cut("the text encoder", self.texts.length, cut)
        with lent(self.encoder, device):
            for start in range(0, len(missing), batch):
                some = missing[start : start + batch]
                lines = [cleaned[caption] for caption in some]
                if device.type != "cpu":  # always as many rows: on a GPU, the last bits depend on their number
                    lines += lines[-1:] * (batch - len(some))
                features, mask = encoded(self.encoder, self.texts, lines, device)
                for place, caption in enumerate(some):
                    self._known[caption] = features[place], mask[place]


@contextmanager
def lent(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Bring a network to a device for the `with` block; afterwards the device is free of it.

    The weights in main memory are the ones of before, which are mapped from their file and take no memory that the
    system cannot have back.
    """
    if device.type == "cpu":
        yield
        return
    kept = [
        (module, name, parameter, parameter.data)
        for module in network.modules()
        for name, parameter in module.named_parameters(recurse=False)
    ]
    try:
        network.to(device)
        yield
    finally:
        for module, name, parameter, data in kept:
            parameter.data = data
            setattr(module, name, parameter)
        if device.type == "cuda":
            torch.cuda.empty_cache()
