"""The plain loop that ids are decoded by, as the official code has it; `benchmarks.speed.generate` compares with it.

Source of what it does: FoundationVision/LlamaGen `autoregressive/models/generate.py` and `gpt.py`. The cache has the
whole length from the start, rounded up to a multiple of eight, and every step attends to all of it under a mask;
captions and no captions are one batch of twice the size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.nn.gpt import GPT, Block, rotate, visible
from lactok.nn.gpt_decoding import Step


@torch.inference_mode()
def decode(
    model: GPT,
    features: Tensor,
    mask: Tensor | None,
    guidance: float,
    choose: Callable[[Step], Tensor],
    interval: int = -1,
) -> Tensor:
    """Return the ids of an image for each caption, (B, image_tokens) int64; see `lactok.nn.gpt_decoding.Decoder`.

    Args:
        features: of the captions (B, T, caption width), padding at the front.
        mask: (B, T), 0 for padding; None if there is none.
        guidance: scale of classifier-free guidance; 1 or less switches it off.
        choose: gets the prediction of an id and returns the ids (B,) int64.
        interval: the last step that is guided, -1 for all of them.
    """
    config, batch, guided = model.config, len(features), guidance > 1
    features = features.to(model.tok_embeddings.weight.dtype)
    if guided:
        empty = model.cls_embedding.uncond_embedding.to(features).expand(batch, -1, -1)
        features = torch.cat([features, empty])
    x = model.embed_caption(features)
    rows, length = len(x), (config.length + 7) // 8 * 8
    allowed = torch.zeros(rows, length, length, dtype=torch.bool, device=x.device)
    seen = visible(mask, config, batch, x.device)
    allowed[:, : config.length, : config.length] = torch.cat([seen] * (rows // batch))
    shape = (rows, config.heads, length, config.width // config.heads)
    caches = [(x.new_zeros(shape), x.new_zeros(shape)) for _ in model.layers]
    places = torch.arange(config.text_tokens, device=x.device)
    chosen: list[Tensor] = []
    for number in range(config.image_tokens):
        for layer, cache in zip(model.layers, caches, strict=True):
            x = _block(layer, x, model.table[places], allowed[:, None, places], cache, places)  # type: ignore[arg-type]
        logits = model.output(model.norm(x))[:, -1].float()
        is_guided = guided and (interval < 0 or number - 1 <= interval)
        without = logits[batch:] if guided else None
        chosen.append(choose(Step(number, logits[:batch], without, guidance if is_guided else 1.0)))
        x = model.tok_embeddings(chosen[-1].repeat(rows // batch)[:, None])
        places = places[-1:] + 1
    return torch.stack(chosen, 1)


def _block(
    layer: Block, x: Tensor, table: Tensor, mask: Tensor, cache: tuple[Tensor, Tensor], places: Tensor
) -> Tensor:
    """Run a block on positions (R, L, width), whose keys and values are added to the cache."""
    attention = layer.attention
    q, k, v = attention.wqkv(layer.attention_norm(x)).unflatten(-1, (3, attention.heads, -1)).unbind(2)
    q, k, v = rotate(q, table).transpose(1, 2), rotate(k, table).transpose(1, 2), v.transpose(1, 2)
    keys, values = cache
    keys[:, :, places], values[:, :, places] = k, v
    out = F.scaled_dot_product_attention(q, keys, values, mask).transpose(1, 2).flatten(2)
    x = x + attention.wo(out)
    return x + layer.feed_forward(layer.ffn_norm(x))
