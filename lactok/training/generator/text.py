"""Text encoders: what turns captions into the features that a generator is conditioned on.

`TextEncoder` is all that a training needs of one. Another kind than T5 is a class with these attributes and a place in
`text_encoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lactok import outside_text, weights
from lactok.errors import UserError, WrongValue, unknown
from lactok.files import is_file, is_folder
from lactok.nn.loading import Texts, filled
from lactok.nn.t5 import PARTS, TOKENIZER, T5Config, T5Encoder, clean, encoded, encoder_tensors
from lactok.outside_text import shown
from lactok.specs import Asset, Hub
from lactok.training.assets import FLAN_T5
from lactok.weights.metadata import bundled_shape

PAD = "<pad>"  # the token of T5's text tokenizers that fills up shorter captions
FOLDER_FILES = "config.json, *.safetensors and tokenizer.json"
# keys of transformers' config.json for the values of `T5Config`
T5_KEYS = {
    "width": "d_model",
    "layers": "num_layers",
    "heads": "num_heads",
    "head_width": "d_kv",
    "hidden": "d_ff",
    "vocabulary": "vocab_size",
}


class Encode(Protocol):
    """A text encoder with its weights."""

    def __call__(self, captions: Sequence[str], device: torch.device) -> list[Tensor]:
        """Return the features of each caption, (n, width) float32 on the CPU, n its number of tokens."""

    def is_cut(self, captions: Sequence[str]) -> list[bool]:
        """Return for each caption whether it is too long, so that its end is not read."""


class TextEncoder(Protocol):
    """What is fixed about a text encoder before it is loaded.

    Attributes:
        name: of the encoder, or the folder that it lies in.
        width: of the features.
        assets: its files; the last one is its text tokenizer.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    @property
    def assets(self) -> tuple[Asset, ...]: ...

    def notes(self) -> dict[str, Any]:
        """Return its shape, for the metadata of weights that are trained on its features."""

    def load(self, length: int, device: torch.device) -> Encode:
        """Return it with its weights, for captions of at most so many tokens."""


@dataclass(frozen=True)
class T5Text:
    """The encoder of a T5, after the captions are cleaned as LlamaGen does, see `lactok.nn.t5`.

    Attributes:
        name: of the encoder, or the folder that it lies in.
        shape: of the network.
        parts: its weights.
        words: its text tokenizer.
    """

    name: str
    shape: T5Config
    parts: tuple[Asset, ...]
    words: Asset

    @property
    def width(self) -> int:
        return self.shape.width

    @property
    def assets(self) -> tuple[Asset, ...]:
        return (*self.parts, self.words)

    def notes(self) -> dict[str, Any]:
        return asdict(self.shape)

    def load(self, length: int, device: torch.device) -> T5Features:
        tensors = encoder_tensors(weights.load(part) for part in self.parts)
        with torch.device("meta"):
            encoder = T5Encoder(self.shape)
        encoder.encoder = filled(partial(_t5, self.shape), tensors, self.name)
        return T5Features(encoder.to(device), Texts(self.words, length, PAD))


def _t5(shape: T5Config) -> nn.Module:
    """Return the network alone, under the names that files have."""
    return T5Encoder(shape).encoder


class T5Features:
    """Features of captions by a T5; they are computed in float32.

    Args:
        encoder: the encoder.
        texts: its text tokenizer.
    """

    def __init__(self, encoder: T5Encoder, texts: Texts):
        self.encoder, self.texts = encoder, texts

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str], device: torch.device) -> list[Tensor]:
        features, mask = encoded(self.encoder, self.texts, [clean(caption) for caption in captions], device)
        return [row[:count] for row, count in zip(features, mask.sum(1).tolist(), strict=True)]

    def is_cut(self, captions: Sequence[str]) -> list[bool]:
        return self.texts.is_cut([clean(caption) for caption in captions])


def _one_part(name: str) -> tuple[tuple[Asset, ...], Asset]:
    """Return the weights and the text tokenizer of a smaller Flan-T5, whose weights are one file."""
    network, words = FLAN_T5[name]
    return (network,), words


# the shapes of the smaller ones are those of their published configurations
NAMED = {
    "flan-t5-xl": T5Text("flan-t5-xl", T5Config(), PARTS, TOKENIZER),
    "flan-t5-base": T5Text("flan-t5-base", T5Config(768, 12, 12, 64, 2048), *_one_part("flan-t5-base")),
    "scenes-text": T5Text(  # trained here on captions of composed scenes, shipped
        "scenes-text",
        bundled_shape("scenes-text", "model", T5Config),
        (Asset("scenes-text", "MIT"),),
        Asset("scenes-text-words", "MIT"),
    ),
    "flan-t5-small": T5Text("flan-t5-small", T5Config(512, 8, 6, 64, 1024), *_one_part("flan-t5-small")),
}


def text_encoder(text: str) -> TextEncoder:
    """Return a text encoder by its name, or the one that lies in a folder.

    Args:
        text: a name of `NAMED`, or a folder as `transformers` writes it for a T5: its config.json, weights as
            safetensors, tokenizer.json.

    Raises:
        UserError: there is no such encoder, or the folder holds no T5.
    """
    if text in NAMED:
        return NAMED[text]
    folder = Path(text).expanduser()
    if text and is_folder(folder):
        return _of_folder(folder)
    if "/" in text or folder.suffix:
        raise WrongValue(f"text = {shown(text, 200)!r}: no such folder; name one with {FOLDER_FILES}")
    raise unknown("text encoder", text, NAMED, also=[f"a folder with {FOLDER_FILES}"])


def _of_folder(folder: Path) -> T5Text:
    """Return the T5 in a folder; its files are found as those of other models in a folder of the user's."""
    folder = folder.resolve()
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if not files or not all(is_file(folder / name) for name in ("config.json", "tokenizer.json")):
        raise WrongValue(f"text: {shown(folder, 200)} is no text encoder; one has {FOLDER_FILES}")
    values = outside_text.json_object(outside_text.read(folder / "config.json"), "config.json")
    if values.get("model_type") != "t5" or values.get("feed_forward_proj") != "gated-gelu":
        raise WrongValue(
            f"text: {shown(folder, 200)} is no T5 of version 1.1 or a Flan-T5 (model_type = t5, feed_forward_proj = "
            "gated-gelu); other encoders are not built"
        )
    sizes = {name: values.get(key) for name, key in T5_KEYS.items()}
    wrong = [T5_KEYS[name] for name, value in sizes.items() if type(value) is not int or value < 1]
    if wrong:
        raise UserError(f"text: config.json of {shown(folder, 200)} has no number {wrong[0]}")
    weights.use_folder(folder.parent)
    hub = f"local/{folder.name}"  # never asked: the files are in a folder of the user's
    parts = tuple(
        Asset(f"{folder.name}-text-{number}", "the user's own", (Hub(hub, file),), "lactok.nn.t5:convert")
        for number, file in enumerate(files, 1)
    )
    words = Asset(f"{folder.name}-text-words", "the user's own", (Hub(hub, "tokenizer.json"),))
    return T5Text(str(folder), T5Config(**sizes), parts, words)  # type: ignore[arg-type]
