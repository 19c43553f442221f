"""Show-o: a language model over text and image ids, which predicts masked image ids from the prompt and all others.

Source: showlab/Show-o `models/modeling_showo.py`, `prompting_utils.py`, `sampling.py`; Xie et al. 2024, arXiv
2408.12528. The network is Phi of transformers, with layer norms of queries and keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lactok.config import Config
from lactok.nn.maskgit_sampling import gumbel

SPECIAL = ("[PAD]", "<|soi|>", "<|eoi|>", "<|sov|>", "<|eov|>", "<|t2i|>", "<|mmu|>", "<|t2v|>", "<|v2v|>", "<|lvg|>")


@dataclass(frozen=True)
class ShowOConfig(Config):
    """Shape of a `ShowO`; the defaults are those of the model of 256 pixels.

    The vocabulary is [text | the ten of `SPECIAL` | codes of images | mask].

    Attributes:
        width, layers, heads, hidden: of the language model; `hidden` is the width inside a block's MLP.
        rotary: share of a head's channels that the rotary positions turn.
        text_vocabulary: number of the text tokenizer's ids.
        end: the text tokenizer's id that begins and ends a prompt.
        text_tokens: places of a prompt, one more than the official `max_seq_length`.
        image_tokens: number of ids of an image.
        codebook_size: number of the image tokenizer's codes.
    """

    width: int = 2048
    layers: int = 24
    heads: int = 32
    hidden: int = 8192
    rotary: float = 0.5
    text_vocabulary: int = 50295
    end: int = 50256
    text_tokens: int = 129
    image_tokens: int = 256
    codebook_size: int = 8192

    def special(self, name: str) -> int:
        """Return the id of one of `SPECIAL`."""
        return self.text_vocabulary + SPECIAL.index(name)

    @property
    def first_code(self) -> int:
        """The id of code 0 of an image."""
        return self.text_vocabulary + len(SPECIAL)

    @property
    def mask_id(self) -> int:
        """The id that stands for an image's id that is not chosen yet; it is the last one."""
        return self.first_code + self.codebook_size

    @property
    def image(self) -> slice:
        """The places of the image's ids in a sequence."""
        return slice(self.text_tokens + 1, self.text_tokens + 1 + self.image_tokens)


def _laid_out(text: Sequence[int], config: ShowOConfig) -> list[int]:
    """Return [t2i | begin | text | end] of any length."""
    ids = list(text)
    if not ids or ids[0] != config.end:
        ids.insert(0, config.end)
    return [config.special("<|t2i|>"), *ids, config.end]


def is_cut(text: Sequence[int], config: ShowOConfig) -> bool:
    """Return whether a text has more ids than a prompt has places, so that its end is not read."""
    return len(_laid_out(text, config)) > config.text_tokens


def prompt_ids(text: Sequence[int], config: ShowOConfig) -> Tensor:
    """Lay out a prompt with an image that is all masked, (text_tokens + 1 + image_tokens + 1,) int64.

    The sequence is [padding | t2i | begin | text | end | soi | image | eoi]; a text that is too long is cut before its
    end.

    Args:
        text: the text tokenizer's ids; empty for the prompt that stands for none.
        config: the vocabulary and the numbers of places.
    """
    ids = _laid_out(text, config)
    if len(ids) > config.text_tokens:
        ids = [*ids[: config.text_tokens - 1], config.end]
    padding = [config.special("[PAD]")] * (config.text_tokens - len(ids))
    image = [config.special("<|soi|>"), *[config.mask_id] * config.image_tokens, config.special("<|eoi|>")]
    return torch.tensor(padding + ids + image)


def visible(ids: Tensor, config: ShowOConfig) -> Tensor:
    """Return which place sees which, (B, L, L) bool: rows see columns.

    The prompt sees what is before it; soi, the image and eoi see everything; nothing behind the padding sees it.

    Args:
        ids: sequences (B, L).
    """
    length = ids.shape[1]
    allowed = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
    allowed[config.text_tokens :] = True
    padding = ids == config.special("[PAD]")
    return allowed[None] & ~(padding[:, None] & ~padding[:, :, None])


class ShowO(nn.Module):
    """The language model, with the official names of its parameters."""

    def __init__(self, config: ShowOConfig):
        from transformers import PhiConfig, PhiForCausalLM

        super().__init__()
        self.config = config
        shape = PhiConfig(
            vocab_size=config.mask_id + 1,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            partial_rotary_factor=config.rotary,
            hidden_act="gelu_new",
            layer_norm_eps=1e-5,
            qk_layernorm=True,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.showo = PhiForCausalLM(shape)
        with torch.device("cpu"):  # no file has its frequencies, also where the network is built without memory
            rotary = self.showo.model.rotary_emb
            self.showo.model.rotary_emb = type(rotary)(shape)

    def forward(self, ids: Tensor, image_only: bool = False) -> Tensor:
        """Sequences (B, L) -> logits of the whole vocabulary (B, L, V), or of the image's codes at its places.

        Args:
            ids: laid out by `prompt_ids`.
            image_only: whether only the codes' logits at the image's places are returned, (B, image_tokens, codes).
        """
        allowed = visible(ids, self.config)[:, None]
        floor = torch.finfo(self.showo.dtype).min
        mask = torch.zeros(allowed.shape, dtype=self.showo.dtype, device=ids.device).masked_fill(~allowed, floor)
        hidden = self.showo.model(ids, attention_mask=mask, use_cache=False).last_hidden_state
        if not image_only:
            return self.showo.lm_head(hidden)
        head, codes = self.showo.lm_head, slice(self.config.first_code, self.config.mask_id)
        return nn.functional.linear(hidden[:, self.config.image], head.weight[codes], head.bias[codes])


@dataclass(frozen=True)
class ShowOSampling:
    """How ids are chosen.

    Attributes:
        steps: number of steps.
        guidance: scale s of classifier-free guidance, (1 + s) conditional - s unconditional; 0 for none.
        temperature: scale of the noise of the confidence at the start.
        schedule: how many ids stay masked after a share of the steps.
    """

    steps: int = 50
    guidance: float = 5.0
    temperature: float = 1.0
    schedule: Literal["cosine", "linear"] = "cosine"

    def masked(self, done: float) -> Tensor:
        """Return the share of the ids that stays masked after a share of the steps, () float32.

        Quirk of the original: it is computed in float32, where cos(pi / 3) is below one half.
        """
        share = torch.tensor(done)
        return torch.cos(share * math.pi * 0.5) if self.schedule == "cosine" else (1 - share).clamp(min=1e-6)


@dataclass(frozen=True)
class ShowOStep:
    """What a step of the sampling did, for comparisons.

    Attributes:
        given: the image's ids that the network saw, (B, N), of the whole vocabulary.
        logits: after guidance (B, N, codes).
        chosen: probability of the chosen ids (B, N), the largest float for those that were known.
        counts: number of ids that are masked again (B,).
        masking: which ones (B, N) bool.
        temperature: of the confidence's noise.
    """

    given: Tensor
    logits: Tensor
    chosen: Tensor
    counts: Tensor
    masking: Tensor
    temperature: float


# (name of the draws, shape of one image's) -> numbers from 0 to 1, (B, *shape); "exponential ..." are so distributed
Draws = Callable[[str, tuple[int, ...]], Tensor]


def generate(
    model: ShowO,
    prompts: Tensor,
    empty: Tensor,
    draws: Draws,
    how: ShowOSampling,
    seen: Callable[[ShowOStep], None] = lambda step: None,
) -> Tensor:
    """Return the ids of an image for each prompt, (B, image_tokens) int64, codes from 0 on.

    Args:
        model: the network.
        prompts: sequences (B, L) of `prompt_ids`; ids of the image that are no mask are kept.
        empty: the sequence (L,) of no prompt.
        draws: "exponential i" and "confidence i" of every step i.
        how: steps, guidance, temperature, schedule.
        seen: is called after each step.
    """
    config, image = model.config, model.config.image
    ids, temperature = prompts.clone(), how.temperature
    codes = ids[:, image] - config.first_code
    for step in range(how.steps):
        given = ids[:, image].clone()
        logits = model(ids, image_only=True).float()
        if how.guidance > 0:
            without = empty.to(ids).expand(len(ids), -1).clone()
            without[:, image] = given
            logits = (1 + how.guidance) * logits - how.guidance * model(without, image_only=True).float()
        unknown = given == config.mask_id
        probabilities = logits.softmax(-1)
        waiting = draws(f"exponential {step}", tuple(logits.shape[1:])).to(logits.device)
        codes = torch.where(unknown, (probabilities / waiting).argmax(-1), given - config.first_code)
        # as the original: known ids have the largest float for a probability, whose logarithm is above all others
        chosen = probabilities.gather(-1, codes[..., None])[..., 0]
        chosen = chosen.masked_fill(~unknown, torch.finfo(torch.float32).max)
        done = (step + 1) / how.steps
        temperature *= 1 - done  # quirk: the falling temperature is multiplied anew at every step
        kept = (config.image_tokens * how.masked(done)).floor().to(unknown.device)
        counts = torch.minimum(unknown.sum(1) - 1, kept).clamp(min=1).long()
        noise = gumbel(draws(f"confidence {step}", tuple(chosen.shape[1:])).to(logits.device))
        confidence = chosen.log() + temperature * noise
        masking = confidence < confidence.sort(-1).values.gather(1, counts[:, None])
        ids[:, image] = (codes + config.first_code).masked_fill(masking, config.mask_id)
        seen(ShowOStep(given, logits, chosen, counts, masking, temperature))
    return codes
