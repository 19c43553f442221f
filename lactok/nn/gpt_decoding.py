"""Decoding by a `GPT`: ids one after the other, in the numbers of the plain loop and with less work.

A caption costs almost nothing once it is read: its keys are zero vectors (see `rotary_table`), so that every id weighs
all positions of the caption alike. Instead of 120 positions, their mean value is kept, whose weight is their number. It
is computed once for all images of a caption, and without a caption once for every length of captions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.device import instead_of
from lactok.errors import UserError
from lactok.nn.gpt import GPT, GPTConfig, visible
from lactok.nn.token_sampling import Sampling, chooser


@dataclass(frozen=True)
class Step:
    """The prediction of one id of every image.

    Attributes:
        number: of the id, 0 for the first.
        conditional: logits with the captions (B, codebook size) float32.
        unconditional: logits without captions, None where guidance is off.
        guidance: the scale of guidance at this step; 1 for none.
    """

    number: int
    conditional: Tensor
    unconditional: Tensor | None
    guidance: float

    @property
    def logits(self) -> Tensor:
        """Logits after guidance (B, codebook size)."""
        if self.unconditional is None or self.guidance == 1:
            return self.conditional
        return self.unconditional + (self.conditional - self.unconditional) * self.guidance


@dataclass(frozen=True)
class Prefix:
    """All that the ids of images need of their captions; R captions, or as many times no caption.

    Attributes:
        values: mean value of the positions that are seen, of every block, (layers, R, heads, channels).
        count: number of these positions, (R,) float32.
        last: what the first id is read from, (R, width).
    """

    values: Tensor
    count: Tensor
    last: Tensor

    @staticmethod
    def joined(parts: Sequence[Prefix]) -> Prefix:
        """Return several prefixes as one, in their order."""
        return Prefix(
            torch.cat([part.values for part in parts], 1),
            torch.cat([part.count for part in parts]),
            torch.cat([part.last for part in parts]),
        )

    def rows(self, count: int) -> Prefix:
        """Return the first `count` captions."""
        return Prefix(self.values[:, :count], self.count[:count], self.last[:count])


CAPTION = 2  # positions that stand for a caption: by one alone, bfloat16 would round its weight by up to 1 %


def log_weights(count: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `CAPTION` logarithms in `dtype` whose exponentials add up to `count`; counts (R,), result (R, CAPTION)."""
    found = []
    left = count.double()
    for _ in range(CAPTION):
        log = left.log().to(dtype)
        above = log.double().exp() > left
        log = torch.where(above, torch.nextafter(log, torch.full_like(log, -torch.inf)), log)
        left = (left - log.double().exp()).clamp(min=0)
        found.append(log)
    return torch.stack(found, -1)


class State:
    """The tensors that a step reads and changes; their addresses stay, as a captured graph needs.

    Args:
        config: shape of the network.
        prefix: of the captions.

    Attributes:
        cache: keys and values of the positions, (layers, 2, R, heads, 2 + image_tokens, channels); the first two
            positions stand for the caption.
        bias: what is added to attention's scores, (R, 1, 1, 2 + image_tokens): -inf for positions that are not there.
        ids: the last ids (R,) int64.
        place: the number of the last id (1,) int64.
    """

    def __init__(self, config: GPTConfig, prefix: Prefix):
        layers, rows, heads, channels = prefix.values.shape
        length = CAPTION + config.image_tokens
        self.cache = prefix.values.new_empty(layers, 2, rows, heads, length, channels)
        self.bias = prefix.values.new_empty(rows, 1, 1, length)
        self.ids = torch.zeros(rows, dtype=torch.int64, device=prefix.values.device)
        self.place = torch.zeros(1, dtype=torch.int64, device=prefix.values.device)
        self.begin(prefix)

    def begin(self, prefix: Prefix) -> None:
        """Start with captions; what was decoded before is not seen, and not kept: NaN would count without a weight."""
        self.cache.zero_()
        self.cache[:, 1, :, :, :CAPTION] = prefix.values[:, :, :, None]
        self.bias.fill_(-torch.inf)
        self.bias[:, 0, 0, :CAPTION] = log_weights(prefix.count, self.bias.dtype)
        self.place.fill_(-1)

    def take(self, other: State) -> None:
        """Go on from the first rows of another state."""
        rows = len(self.ids)
        self.cache.copy_(other.cache[:, :, :rows])
        self.bias.copy_(other.bias[:rows])
        self.place.copy_(other.place)


class Decoder:
    """Chooses ids by a `GPT`, whose weights it shares.

    Args:
        model: the network, on its device and in its compute dtype.
    """

    def __init__(self, model: GPT):
        self.model = model
        self._step: Callable[[State, int], Tensor] = self.step
        self._without: dict[bytes, Prefix] = {}  # prefixes without a caption, by the mask
        # looking them up in the network takes a measurable part of a step
        self._layers = [
            (block.attention_norm, block.attention.wqkv, block.attention.wo, block.ffn_norm, block.feed_forward)
            for block in model.blocks
        ]

    # -- captions

    @torch.inference_mode()
    def prefix(self, features: Tensor, mask: Tensor | None) -> Prefix:
        """Read captions.

        Args:
            features: (B, T, caption width), padding at the front.
            mask: (B, T), 0 for padding; None if there is none.
        """
        model, config = self.model, self.model.config
        text = replace(config, image_tokens=0)
        allowed = visible(mask, text, len(features), features.device)
        x = model.embed_caption(features.to(model.tok_embeddings.weight.dtype))
        table = model.table[: config.text_tokens]
        if mask is None:
            mask = features.new_ones(features.shape[:2])
        seen = mask.to(x.device).float()[:, None, :, None]
        count = seen.sum(2)  # (B, 1, 1)
        means = []
        for layer in model.blocks:
            q, k, v = layer.attention.project(layer.attention_norm(x), table)
            means.append(((v.float() * seen).sum(2) / count.clamp(min=1)).to(v.dtype))
            x = x + layer.attention.attend(q, k, v, allowed[:, None])
            x = x + layer.feed_forward(layer.ffn_norm(x))
        return Prefix(torch.stack(means), count[:, 0, 0], model.norm(x[:, -1]))

    def without_caption(self, mask: Tensor | None, batch: int) -> Prefix:
        """Return the prefixes of the unconditional branch; quirk of the original: it has the captions' padding.

        Args:
            mask: of the captions (B, T); None if there is none.
            batch: number of captions, B.
        """
        if mask is None:
            mask = torch.ones(batch, self.model.config.text_tokens)
        found = []
        for row in mask.bool().cpu():
            key = row.numpy().tobytes()
            if key not in self._without:
                self._without[key] = self.prefix(self.model.cls_embedding.uncond_embedding[None], row[None])
            found.append(self._without[key])
        return Prefix.joined(found)

    # -- ids

    @torch.inference_mode()
    def decode(
        self,
        conditional: Prefix,
        unconditional: Prefix | None,
        guidance: float,
        choose: Callable[[Step], Tensor],
        interval: int = -1,
    ) -> Tensor:
        """Return the ids of an image for each caption, chosen one after the other, (B, image_tokens) int64.

        Args:
            conditional: the captions.
            unconditional: the same without captions; None switches guidance off.
            guidance: scale of classifier-free guidance; 1 or less switches it off.
            choose: gets the prediction of an id and returns the ids (B,) int64.
            interval: the last step of the loop that is guided, -1 for all of them. As in the original, the steps are
                counted from the second id on, and the first id is guided whatever this is.

        Raises:
            UserError: the network overflowed in its compute dtype, and what it chose means nothing.
        """
        batch = len(conditional.last)
        guided = unconditional is not None and guidance > 1
        prefix = Prefix.joined([conditional, unconditional]) if guided and unconditional else conditional
        state = self._state(prefix)
        logits = self.model.output(prefix.last).float()
        is_finite = logits.isfinite().all()
        chosen: list[Tensor] = []
        for number in range(self.model.config.image_tokens):
            if number:
                if guided and 0 <= interval < number - 1:  # the branch without captions is not needed any more
                    guided = False
                    left = self._state(prefix.rows(batch))
                    left.take(state)
                    state = left
                state.ids.copy_(chosen[-1].repeat(len(state.ids) // batch))
                state.place.add_(1)
                logits = self._run(state, number)
                is_finite &= logits.isfinite().all()  # looked at once, at the end, for which a GPU is waited for
            without = logits[batch:] if guided else None
            chosen.append(choose(Step(number, logits[:batch], without, guidance if guided else 1.0)))
        if not is_finite.is_meta and not is_finite:
            dtype = self.model.tok_embeddings.weight.dtype
            raise UserError(f"the predictions of ids are not finite{instead_of(dtype)}")
        return torch.stack(chosen, 1)

    def generate(self, conditional: Prefix, unconditional: Prefix | None, seeds: Tensor, sampling: Sampling) -> Tensor:
        """Return the ids of an image for each caption, (B, image_tokens) int64.

        Args:
            conditional, unconditional: see `decode`.
            seeds: (B,) int64; an image depends on its caption and its seed alone.
            sampling: guidance, temperature and filters.
        """
        count = self.model.config.image_tokens
        with chooser(seeds, self.model.config.codebook_size, count, sampling, conditional.last.device) as choose:
            return self.decode(
                conditional,
                unconditional,
                sampling.guidance,
                lambda step: choose(step.logits, step.number),
                sampling.interval,
            )

    def read_and_generate(self, features: Tensor, mask: Tensor | None, seeds: Tensor, sampling: Sampling) -> Tensor:
        """Return the ids of an image for each caption's features; arguments as of `prefix` and `generate`."""
        without = self.without_caption(mask, len(features)) if sampling.guidance > 1 else None
        return self.generate(self.prefix(features, mask), without, seeds, sampling)

    def compile(self, backend: str = "inductor") -> None:
        """Compile the step with `torch.compile`, whose `backend` this is."""
        self._step = torch.compile(self.step, backend=backend)

    def _state(self, prefix: Prefix) -> State:
        """Return the state in which decoding begins."""
        return State(self.model.config, prefix)

    def _run(self, state: State, number: int) -> Tensor:
        """Return the logits (R, codebook size) float32 of id `number`, given the one before."""
        return self._step(state, CAPTION + number)

    def step(self, state: State, end: int) -> Tensor:
        """Add the last ids to the state and return the logits of the next ones, (R, codebook size) float32.

        Args:
            state: the state.
            end: number of positions that attention reads; those that are not there yet have no weight.
        """
        model = self.model
        x = F.embedding(state.ids, model.tok_embeddings.weight)
        place = state.place + CAPTION
        angles = torch.view_as_complex(model.table[model.config.text_tokens :].index_select(0, state.place))
        state.bias.index_fill_(3, place, 0)
        bias = state.bias[..., :end]
        channels = model.config.width // model.config.heads
        for (attention_norm, wqkv, wo, ffn_norm, feed_forward), cache in zip(self._layers, state.cache, strict=True):
            qkv = wqkv(attention_norm(x)).contiguous().view(len(x), 3, -1, channels)
            # neighbouring pairs of the channels of queries and keys are turned, as `lactok.nn.gpt.rotate` does
            qk = qkv[:, :2]  # (R, 2, heads, channels)
            pairs = torch.view_as_complex(qk.float().unflatten(-1, (-1, 2)))
            qk.copy_(torch.view_as_real(pairs * angles).flatten(-2))
            cache.index_copy_(3, place, qkv[:, 1:, :, None].transpose(0, 1))
            keys, values = cache[..., :end, :].unbind()
            out = F.scaled_dot_product_attention(qkv[:, 0, :, None], keys, values, bias)
            x = x + wo(out.flatten(1))
            x = x + feed_forward(ffn_norm(x))
        return model.output(model.norm(x)).float()
