"""Say what a file of weights holds, by the names and shapes of its tensors, where it does not fit its network.

Only messages come of it: nothing is loaded by what is recognised here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from lactok import weights
from lactok.weights.wrappers import Unfit

Shapes = Mapping[str, tuple[int, ...]]


def _layers(shapes: Shapes, pattern: str) -> int:
    """Return how many layers there are, by the numbers that the first group of a pattern finds in names."""
    found = [int(match[1]) for match in (re.search(pattern, name) for name in shapes) if match]
    return max(found, default=-1) + 1


def _size(shapes: Shapes, end: str, axis: int) -> int:
    """Return a side of the tensor whose name ends so."""
    return next((shape[axis] for name, shape in shapes.items() if name.endswith(end) and len(shape) > axis), 0)


def _gpt(shapes: Shapes) -> str:
    of = " of ImageNet classes" if _has(shapes, "cls_embedding.embedding_table.weight") else ""
    return (
        f"a transformer of LlamaGen's kind{of}, {_layers(shapes, r'layers[.]([0-9]+)[.]attention[.]wqkv')} blocks "
        f"{_size(shapes, 'tok_embeddings.weight', 1)} wide for {_size(shapes, 'output.weight', 0)} codes"
    )


def _show_o(shapes: Shapes) -> str:
    return (
        f"a Show-o of {_layers(shapes, r'showo[.]model[.]layers[.]([0-9]+)[.]')} layers "
        f"{_size(shapes, 'showo.model.embed_tokens.weight', 1)} wide for {_size(shapes, 'showo.lm_head.weight', 0)} ids"
    )


def _hart(shapes: Shapes) -> str:
    width = _size(shapes, "attn.proj.weight", 0)
    return f"a HART of {_layers(shapes, r'blocks[.]([0-9]+)[.]attn[.]qkv_proj')} blocks {width} wide"


def _titok_bert(shapes: Shapes) -> str:
    layers = _layers(shapes, r"encoder[.]layer[.]([0-9]+)[.]")
    positions = _size(shapes, "embeddings.position_embeddings.weight", 0)
    return f"a TiTok generator (BERT) of {layers} layers for {positions} positions"


def _titok_uvit(shapes: Shapes) -> str:
    blocks = _layers(shapes, r"in_blocks[.]([0-9]+)[.]")
    return f"a TiTok generator (U-ViT) of {blocks} + {blocks} blocks for {_size(shapes, 'pos_embed', 1)} positions"


def _language_model(shapes: Shapes) -> str:
    layers = _layers(shapes, r"layers[.]([0-9]+)[.]self_attn")
    return f"a language model of {layers} layers {_size(shapes, 'embed_tokens.weight', 1)} wide"


# ends of names that a kind of file has, all of them, and what it is; the first kind that fits is said
KINDS: tuple[tuple[tuple[str, ...], str | Callable[[Shapes], str]], ...] = (
    (("tok_embeddings.weight", "attention.wqkv.weight"), _gpt),
    (("showo.model.embed_tokens.weight",), _show_o),
    (("attn.qkv_proj.weight", "lvl_1L"), _hart),
    (("embeddings.word_embeddings.weight", "token_type_embeddings.weight"), _titok_bert),
    (("in_blocks.0.attn.qkv.weight", "mid_block.attn.qkv.weight"), _titok_uvit),
    (("latent_tokens", "encoder.positional_embedding"), "TiTok's image tokenizer"),
    (("quantize.power_vals",), "Show-o's image tokenizer (MAGVIT-v2)"),
    (("controlnet_cond_embedding.conv_in.weight",), "LaCTok's image tokenizer"),
    (("controlnet_mid_block.weight",), "LaCTok's image tokenizer"),
    (("quant_resi.qresi_ls.0.weight",), "HART's image tokenizer"),
    (("quantize.embedding.weight",), "an image tokenizer (VQ)"),
    (("quantize.codebook_used",), "an image tokenizer (VQ)"),
    (("SelfAttention.q.weight", "shared.weight"), "a T5 text encoder"),
    (("text_model.embeddings.token_embedding.weight",), "a CLIP"),
    (("encoder.conv_in.weight", "decoder.conv_out.weight"), "an image autoencoder"),
    (("down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"), "a diffusion model's U-Net"),
    (("embed_tokens.weight", "self_attn.q_proj.weight"), _language_model),
)


def _has(shapes: Shapes, end: str) -> bool:
    return any(name == end or name.endswith(f".{end}") for name in shapes)


def recognised(tensors: Mapping[str, Tensor]) -> str:
    """Return what a file holds, in words, "" where it is of no kind that is known here.

    >>> import torch
    >>> recognised({"model.quantize.embedding.weight": torch.zeros(2, 2)})
    'an image tokenizer (VQ)'
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for ends, said in KINDS:
        if all(_has(shapes, end) for end in ends):
            return said if isinstance(said, str) else said(shapes)
    return ""


def load_strict(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Load a network's weights as `lactok.weights.load_strict` does, and say what the file holds where they do not fit.

    Args:
        network: the network.
        tensors: of the file.
        name: what messages call the network.

    Raises:
        Unfit: they are the weights of another network, or of another size; the message says of which.
    """
    try:
        weights.load_strict(network, tensors, name)
    except Unfit as error:
        needed, found = recognised(network.state_dict()), recognised(tensors)
        if not found or found == needed:
            raise
        raise Unfit(f"{name} needs {needed or 'its own network'}, and its file holds {found}: {error}") from error
