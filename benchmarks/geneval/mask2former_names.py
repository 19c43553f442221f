"""Rename the tensors of Mask2Former checkpoints, of mmdetection or of older transformers, to transformers' names today.

Sources of the names: mmdetection @ 2.x, mmdet/models/{backbones/swin,plugins/msdeformattn_pixel_decoder,
dense_heads/mask2former_head}.py, and the renamed decoder layers of 3.x. Every tensor of a file is either used or
matched by `UNUSED`; `lactok.weights.load_strict` then checks that every parameter of the network is filled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lactok.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# patterns of what a file holds besides weights: constants that the network computes itself
UNUSED = (r"relative_position_index$", r"^criterion\.empty_weight$", r"^meta\.")

_ENCODER, _DECODER = "model.pixel_level_module.encoder.", "model.pixel_level_module.decoder."
_TRANSFORMER = "model.transformer_module."
_BLOCK = _ENCODER + r"swin.encoder.layers.\1.blocks.\2."

# mmdetection's name as a pattern, transformers' name: tensors that keep their values. A pattern matches the beginning
# of a name; the rest of the name ("weight", "bias") stays
_MMDET = (
    (r"backbone\.patch_embed\.projection\.", _ENCODER + "swin.embeddings.patch_embeddings.projection."),
    (r"backbone\.patch_embed\.norm\.", _ENCODER + "swin.embeddings.norm."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.norm1\.", _BLOCK + "layernorm_before."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.norm2\.", _BLOCK + "layernorm_after."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.proj\.", _BLOCK + "attention.o_proj."),
    (
        r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.(?=relative_position_bias_table)",
        _BLOCK + "attention.relative_position_bias.",
    ),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.", _BLOCK + "mlp.fc1."),
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1\.", _BLOCK + "mlp.fc2."),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d+)\.conv\.", _DECODER + r"input_projections.\1.0."),
    (r"panoptic_head\.pixel_decoder\.input_convs\.(\d+)\.gn\.", _DECODER + r"input_projections.\1.1."),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.attentions\.0\.",
        _DECODER + r"encoder.layers.\1.self_attn.",
    ),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.norms\.0\.",
        _DECODER + r"encoder.layers.\1.self_attn_layer_norm.",
    ),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.norms\.1\.",
        _DECODER + r"encoder.layers.\1.final_layer_norm.",
    ),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffns\.0\.layers\.0\.0\.",
        _DECODER + r"encoder.layers.\1.fc1.",
    ),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.ffns\.0\.layers\.1\.",
        _DECODER + r"encoder.layers.\1.fc2.",
    ),
    (r"panoptic_head\.pixel_decoder\.level_encoding\.weight", _DECODER + "level_embed"),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv\.", _DECODER + "adapter_1.0."),
    (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn\.", _DECODER + "adapter_1.1."),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.conv\.", _DECODER + "layer_1.0."),
    (r"panoptic_head\.pixel_decoder\.output_convs\.0\.gn\.", _DECODER + "layer_1.1."),
    (r"panoptic_head\.pixel_decoder\.mask_feature\.", _DECODER + "mask_projection."),
    (r"panoptic_head\.query_embed\.", _TRANSFORMER + "queries_embedder."),
    (r"panoptic_head\.query_feat\.", _TRANSFORMER + "queries_features."),
    (r"panoptic_head\.level_embed\.", _TRANSFORMER + "level_embed."),
    # a decoder layer runs cross attention, self attention, feed-forward network; its attentions and norms are numbered
    # in this order
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.0\.attn\.",
        _TRANSFORMER + r"decoder.layers.\1.cross_attn.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.1\.attn\.(?=out_proj)",
        _TRANSFORMER + r"decoder.layers.\1.self_attn.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.0\.",
        _TRANSFORMER + r"decoder.layers.\1.cross_attn_layer_norm.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.1\.",
        _TRANSFORMER + r"decoder.layers.\1.self_attn_layer_norm.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.norms\.2\.",
        _TRANSFORMER + r"decoder.layers.\1.final_layer_norm.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffns\.0\.layers\.0\.0\.",
        _TRANSFORMER + r"decoder.layers.\1.fc1.",
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.ffns\.0\.layers\.1\.",
        _TRANSFORMER + r"decoder.layers.\1.fc2.",
    ),
    (r"panoptic_head\.transformer_decoder\.post_norm\.", _TRANSFORMER + "decoder.layernorm."),
    (r"panoptic_head\.cls_embed\.", "class_predictor."),
    (r"panoptic_head\.mask_embed\.0\.", _TRANSFORMER + "decoder.mask_predictor.mask_embedder.0.0."),
    (r"panoptic_head\.mask_embed\.2\.", _TRANSFORMER + "decoder.mask_predictor.mask_embedder.1.0."),
    (r"panoptic_head\.mask_embed\.4\.", _TRANSFORMER + "decoder.mask_predictor.mask_embedder.2.0."),
)

# tensors that hold the projections of queries, keys and values in one; {} stands for q, k and v
_FUSED = (
    (r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.qkv\.(weight|bias)", _BLOCK + r"attention.{}_proj.\3"),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.1\.attn\.in_proj_(weight|bias)",
        _TRANSFORMER + r"decoder.layers.\1.self_attn.{}_proj.\2",
    ),
)

_BACKBONE_NORM = re.compile(r"backbone\.norm(\d)\.(weight|bias)")
_DOWNSAMPLE = re.compile(r"backbone\.stages\.(\d)\.downsample\.(norm|reduction)\.(weight|bias)")

# names of mmdetection 3.x as patterns, those of 2.x
_RENAMED = (
    (r"(transformer_decoder\.layers\.\d+)\.cross_attn\.", r"\1.attentions.0."),
    (r"(transformer_decoder\.layers\.\d+)\.self_attn\.", r"\1.attentions.1."),
    (r"(pixel_decoder\.encoder\.layers\.\d+)\.self_attn\.", r"\1.attentions.0."),
    (r"(layers\.\d+)\.ffn\.layers\.", r"\1.ffns.0.layers."),
)

# names of transformers before version 5 as patterns, those since
_OLDER = (
    (r"pixel_level_module\.encoder\.(encoder|embeddings)\.", r"pixel_level_module.encoder.swin.\1."),
    (r"attention\.self\.query", "attention.q_proj"),
    (r"attention\.self\.key", "attention.k_proj"),
    (r"attention\.self\.value", "attention.v_proj"),
    (r"attention\.self\.(relative_position_bias_table)", r"attention.relative_position_bias.\1"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"(blocks\.\d+)\.intermediate\.dense", r"\1.mlp.fc1"),
    (r"(blocks\.\d+)\.output\.dense", r"\1.mlp.fc2"),
    *((rf"hidden_states_norms\.{i}\.", f"hidden_states_norms.stage{i + 1}.") for i in range(4)),
)


def convert(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under transformers' names.

    Args:
        tensors: of a file of mmdetection (2.x or 3.x) or of transformers (any version), by their stored names.

    Raises:
        UserError: a name of mmdetection's network is neither known nor matched by `UNUSED`.
    """
    out: dict[str, Tensor] = {}
    for stored, tensor in tensors.items():
        name = stored.removeprefix("state_dict.")
        if any(re.search(pattern, name) for pattern in UNUSED):
            continue
        if name.startswith(("backbone.", "panoptic_head.")):
            out |= _from_mmdetection(name, tensor)
        else:
            out[_from_older_transformers(name)] = tensor
    for part in ("weight", "bias"):
        # transformers' backbone also normalises an output that nothing reads; any values will do for that norm
        last = out.get(f"{_ENCODER}hidden_states_norms.stage4.{part}")
        if last is not None:
            out.setdefault(f"{_ENCODER}swin.layernorm.{part}", last.clone())
    return out


def _from_mmdetection(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return what a tensor of mmdetection becomes: usually one tensor, three for a fused projection.

    Raises:
        UserError: the name is unknown.
    """
    import torch

    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    if found := _BACKBONE_NORM.fullmatch(name):
        stage, part = int(found[1]) + 1, found[2]
        return {f"{_ENCODER}hidden_states_norms.stage{stage}.{part}": tensor}
    if found := _DOWNSAMPLE.fullmatch(name):
        layer, module, part = found.groups()
        reordered = tensor[..., merging_order(tensor.shape[-1])].contiguous()
        return {f"{_ENCODER}swin.encoder.layers.{layer}.downsample.{module}.{part}": reordered}
    for pattern, replacement in _FUSED:
        if found := re.fullmatch(pattern, name):
            target = found.expand(replacement)
            query, key, value = torch.chunk(tensor, 3)
            return {target.format("q"): query, target.format("k"): key, target.format("v"): value}
    for pattern, replacement in _MMDET:
        if found := re.match(pattern, name):
            return {found.expand(replacement) + name[found.end() :]: tensor}
    raise UserError(f"{name} is not a tensor of mmdetection's Mask2Former; is it the right file?")


def merging_order(channels: int) -> Tensor:
    """Return, for each of the 4 C channels of transformers' patch merging, its index in mmdetection's, (4 C,) int64.

    Both merge 2 x 2 pixels of C channels into one of 4 C. mmdetection unfolds them channel by channel, and within a
    channel row by row. transformers concatenates all channels of the pixels at (row, column) (0, 0), (1, 0), (0, 1)
    and (1, 1).

    Args:
        channels: 4 C.

    >>> merging_order(8).tolist()
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    import torch

    return torch.arange(channels).view(-1, 2, 2).permute(2, 1, 0).flatten()


def _from_older_transformers(name: str) -> str:
    """Return today's name of a tensor of transformers; a name of today stays as it is."""
    for pattern, replacement in _OLDER:
        name = re.sub(pattern, replacement, name)
    return name
