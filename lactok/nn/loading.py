"""What scores of images and captions need: a network with its weights, and a text tokenizer, both from files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError, first_few
from lactok.outside_text import shown
from lactok.specs import Asset

if TYPE_CHECKING:
    from tokenizers import Tokenizer

M = TypeVar("M", bound=nn.Module)
logger = logging.getLogger(__name__)

_told: set[str] = set()  # captions whose cut ends were told in this process


@runtime_checkable
class ReadsCaptions(Protocol):
    """What reads a limited number of a caption's tokens, and tells which captions have more."""

    def cut_captions(self, captions: Sequence[str]) -> tuple[int, list[str]]:
        """Return how many tokens of a caption are read, special ones included, and the captions that have more.

        Only the text tokenizer's file is needed, not the network's weights.
        """


def tell_cut(name: str, tokens: int, cut: Sequence[str], all: int = 0) -> None:
    """Say on the log how many captions are longer than a network reads; of those that were told before, nothing.

    Args:
        name: what reads them.
        tokens: how many tokens of a caption it reads.
        cut: the captions that have more.
        all: how many captions there are, where that is worth saying.
    """
    new = [caption for caption in dict.fromkeys(cut) if caption not in _told]
    if not new:
        return
    _told.update(new)
    count = f"{len(new)} of {all}" if all else str(len(new))
    first = first_few([shown(caption) for caption in new], 3)
    logger.warning("captions longer than %d tokens: %s; %s does not read their ends: %s", tokens, count, name, first)


def filled(build: Callable[[], M], tensors: Mapping[str, Tensor], name: str) -> M:
    """Make a network and load its weights; random weights are not computed first.

    Args:
        build: makes the network.
        tensors: exactly its weights.
        name: what messages call the network.

    Returns:
        The network in float32, frozen, in eval mode.

    Raises:
        UserError: a missing or unexpected tensor, or one of another shape.
    """
    with torch.device("meta"):
        module = build()
    weights.load_strict(module, tensors, name)
    for path, buffer in module.named_buffers():
        if buffer.is_meta:  # no file has it: transformers does not store its buffers of positions 0, 1, 2, ...
            owner, _, attribute = path.rpartition(".")
            if attribute != "position_ids":
                raise UserError(f"{name}: its network left {path} without a value")
            module.get_submodule(owner).position_ids = torch.arange(buffer.shape[-1]).expand(buffer.shape)
    return module.eval().requires_grad_(False)


def without_positions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the buffers of positions 0, 1, 2, ..., which older versions of transformers stored."""
    return {k: v for k, v in tensors.items() if not k.endswith("embeddings.position_ids")}


def tokenizer_json(asset: Asset) -> Tokenizer:
    """Return the text tokenizer in a `tokenizer.json`, as the tokenizers library reads it.

    Raises:
        UserError: the asset is no `tokenizer.json`.
    """
    from tokenizers import Tokenizer

    content = weights.load(asset)["json"].numpy().tobytes().decode()
    try:
        return Tokenizer.from_str(content)
    except Exception as error:  # the library raises no more specific class
        raise UserError(f"{asset.name} is not a tokenizer.json ({error}); is it the right file?") from error


class Texts:
    """A text tokenizer of the tokenizers library that gives all captions the same number of ids.

    Args:
        asset: the tokenizer's `tokenizer.json`.
        length: number of ids of a caption, the special ones included. Longer captions are cut so that the last
            special one stays.
        pad: the token that fills up shorter captions.

    Attributes:
        length: as given.

    Raises:
        UserError: the asset is no `tokenizer.json`, or it has no token `pad`.
    """

    def __init__(self, asset: Asset, length: int, pad: str):
        self.length = length
        self._tokenizer = tokenizer_json(asset)
        pad_id = self._tokenizer.token_to_id(pad)
        if pad_id is None:
            raise UserError(f"{asset.name} has no token {pad}; is it the right file?")
        self.pad_id = pad_id
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=pad_id, pad_token=pad)

    def __call__(self, captions: list[str], device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Return ids and attention mask of B captions, both (B, length) int64; the mask is 0 at padding."""
        encoded = self._tokenizer.encode_batch(captions)
        ids = torch.tensor([caption.ids for caption in encoded], device=device)
        mask = torch.tensor([caption.attention_mask for caption in encoded], device=device)
        return ids, mask

    def is_cut(self, captions: list[str]) -> list[bool]:
        """Return for each caption whether it has more than `length` tokens, so that its end is not read."""
        return [len(encoded.overflowing) > 0 for encoded in self._tokenizer.encode_batch(captions)]
