"""FlexTok's published files: conversion of the names in `model.safetensors`, and a strict reader of `config.json`.

The official loader instantiates any class that config.json names. This reader instantiates none: every module, class
and key in the file must be one of those that are listed here, and the sizes become a `FlexTokConfig`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lactok.config import build
from lactok.errors import UserError, one_line
from lactok.nn.flextok import FlexTokConfig

# beginnings of official names -> beginnings of the names in `FlexTok`
RENAMED = {
    "vae.vae.": "vae.",
    "encoder.module_dict.enc_patch_emb.patch_proj.": "encoder.patches.proj.",
    "encoder.module_dict.enc_posemb_module.posembs": "encoder.patches.position",
    "encoder.module_dict.enc_register_module.registers": "encoder.registers",
    "encoder.module_dict.enc_transformer.blocks.": "encoder.blocks.",
    "encoder.module_dict.enc_to_latents.proj.": "encoder.head.",
    "decoder.module_dict.dec_from_latents.proj.": "decoder.from_codes.",
    "decoder.module_dict.dec_registers_posemb_module.posembs": "decoder.register_position",
    "decoder.module_dict.dec_nested_dropout.dropout_mask_token": "decoder.mask_token",
    "decoder.module_dict.dec_latent_dropout.nullcond": "decoder.null_token",
    "decoder.module_dict.dec_noise_patch_emb.patch_proj.": "decoder.patches.proj.",
    "decoder.module_dict.dec_patches_posemb_module.posembs": "decoder.patches.position",
    "decoder.module_dict.dec_time_embedder.mlp.": "decoder.time.",
    "decoder.module_dict.dec_transformer.blocks.": "decoder.blocks.",
    "decoder.module_dict.dec_to_patches.": "decoder.head.",
}


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `model.safetensors` under the names that `FlexTok` has.

    Unknown names stay as they are, so that loading reports them as unexpected.
    """
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    for official, ours in RENAMED.items():
        if name.startswith(official):
            return ours + name.removeprefix(official)
    return name


# The parts of the file that hold modules: section -> module -> (its class, values that some of its keys must have).
_PATCHING = ("flextok.model.preprocessors.patching.PatchEmbedder", {"flatten_patches": False})
_POSITION = ("flextok.model.utils.posembs.PositionalEmbeddingAdder", {"posemb_scaling": "absolute"})
_PACKER = "flextok.model.preprocessors.flex_seq_packing.BlockWiseSequencePacker"
_TRUNK = "flextok.model.trunks.transformers.FlexTransformer"
_UNPACKER: tuple[str, dict[str, Any]] = ("flextok.model.postprocessors.seq_unpacking.SequenceUnpacker", {})
_OPERATION: tuple[str, dict[str, Any]] = ("flextok.model.utils.dict_ops.PerSampleOp", {})
_HEAD = {"use_mup_readout": False}
MODULES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "encoder": {
        "enc_channels_to_last": _OPERATION,
        "enc_patch_emb": _PATCHING,
        "enc_posemb_module": (_POSITION[0], _POSITION[1] | {"posemb_type": "sincos"}),
        "enc_register_module": ("flextok.model.preprocessors.registers.Registers1D", {"ordering_mode": "nested"}),
        "enc_seq_packer": (_PACKER, {"mask_mode": "causal_last"}),
        "enc_transformer": (_TRUNK, {}),
        "enc_unpacker": _UNPACKER,
        "enc_to_latents": ("flextok.model.postprocessors.heads.LinearHead", _HEAD),
    },
    "decoder": {
        "dec_from_latents": ("flextok.model.preprocessors.linear.LinearLayer", {}),
        "dec_registers_posemb_module": (_POSITION[0], _POSITION[1] | {"posemb_type": "learnable_sum"}),
        "dec_nested_dropout": ("flextok.model.preprocessors.token_dropout.MaskedNestedDropout", {}),
        "dec_latent_dropout": ("flextok.model.preprocessors.nullcond.LearnedNullCond", {}),
        "dec_noise_channels_to_last": _OPERATION,
        "dec_noise_patch_emb": _PATCHING,
        "dec_patches_posemb_module": (_POSITION[0], _POSITION[1] | {"posemb_type": "sincos"}),
        "dec_seq_packer": (_PACKER, {"mask_mode": "full", "per_subseq_embs": True}),
        "dec_time_embedder": (
            "flextok.model.preprocessors.time_embedding.TimestepEmbedder",
            {"frequency_embedding_size": 256},
        ),
        "dec_transformer": (_TRUNK, {"adaLN_expansion": 2}),
        "dec_unpacker": _UNPACKER,
        "dec_to_patches": ("flextok.model.postprocessors.heads.ToPatchesLinearHead", _HEAD),
        "dec_channels_to_first": _OPERATION,
    },
}
# the other parts of the file, which are one module each
SINGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("flextok.vae_wrapper.StableDiffusionVAE", {}),
    "regularizer": ("flextok.regularizers.quantize_fsq.FSQ", {}),
    "flow_matching_noise_module": ("flextok.flow_matching.noise_modules.MinRFNoiseModule", {}),
    "pipeline": ("flextok.flow_matching.pipelines.MinRFPipeline", {}),
}
OPERATIONS = tuple(f"flextok.model.utils.dict_ops.channels_{way}" for way in ("first_to_last", "last_to_first"))
WRAPPER = "flextok.model.utils.wrappers.SequentialModuleDictWrapper"

# All keys that a module may have, besides those that end in _key or _keys: they only say which entry of a dictionary a
# module reads or writes.
KEYS = frozenset(
    (
        "_target_",
        "_partial_",
        "per_sample_op",
        "latent_channels",
        "scaling_factor",
        "sample_posterior",
        "frozen",
        "channels_in",
        "dim",
        "patch_sizes",
        "flatten_patches",
        "max_sizes",
        "posemb_type",
        "posemb_scaling",
        "n_min",
        "n_max",
        "size_sampling_mode",
        "ordering_mode",
        "mask_mode",
        "pad_to_multiple",
        "compile_block_mask",
        "per_subseq_embs",
        "depth",
        "head_dim",
        "use_act_checkpoint",
        "dim_out",
        "use_mup_readout",
        "weight_init_style",
        "dtype_override",
        "dim_in",
        "dropout_prob",
        "frequency_embedding_size",
        "max_timestep",
        "adaLN_expansion",
        "channels_out",
        "levels",
        "drop_quant_p",
        "packed_call",
        "ln",
        "stratisfied",
        "mode_scale",
        "out_channels",
    )
)


# keys that must be stated, because the defaults of the official classes are not what `FlexTok` computes
NEEDED = {"mask_mode", "per_subseq_embs", "posemb_type", "adaLN_expansion"}


def _checked(where: str, found: Any, target: str, required: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module of the file if it is as expected.

    Args:
        where: what messages call the module.
        found: the module as the file has it.
        target: its class.
        required: values that some of its keys must have.

    Raises:
        UserError: it is missing, or it differs in class, keys or values.
    """
    if not isinstance(found, dict):
        raise UserError(f"FlexTok's config.json: {where} is missing")
    if found.get("_target_") != target:
        raise UserError(f"FlexTok's config.json: {where} names {found.get('_target_')}, expected {target}")
    for key in NEEDED & required.keys() - found.keys():
        raise UserError(f"FlexTok's config.json: {where} does not say {key}; only {required[key]!r} is built here")
    for key, value in found.items():
        if key not in KEYS and not key.endswith(("_key", "_keys")):
            raise UserError(f"FlexTok's config.json: {where} has the unknown key {key!r}; is this a newer model?")
        if key in required and value != required[key]:
            raise UserError(f"FlexTok's config.json: {where}.{key} is {value!r}, only {required[key]!r} is built here")
    operation = found.get("per_sample_op")
    if operation is not None and operation.get("_target_") not in OPERATIONS:
        raise UserError(f"FlexTok's config.json: {where} names {operation.get('_target_')}")
    return found


def _section(tree: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the modules of "encoder" or "decoder" by name if all are as expected.

    Raises:
        UserError: the section is missing, or one of its modules differs.
    """
    section = tree.get(name, {})
    modules = section.get("module_dict", {}) if isinstance(section, dict) else None
    if (
        not isinstance(modules, dict)
        or section.get("_target_") != WRAPPER
        or section.keys() - {"_target_", "module_dict"}
    ):
        raise UserError(f"FlexTok's config.json: {name} is not a {WRAPPER}")
    if list(modules) != list(MODULES[name]):
        odd = sorted(set(modules) ^ set(MODULES[name])) or ["the order"]
        raise UserError(f"FlexTok's config.json: {name} differs from the known models in {', '.join(odd)}")
    return {m: _checked(f"{name}.{m}", modules[m], *MODULES[name][m]) for m in modules}


def read_config(tree: Mapping[str, Any]) -> FlexTokConfig:
    """Return the shape of the network that a parsed `config.json` describes.

    Raises:
        UserError: an unknown class, module or key, or widths that contradict each other; the message names it.
    """
    if not isinstance(tree, dict):
        raise UserError("FlexTok's config.json is not a table of modules")
    unknown = sorted(tree.keys() - MODULES.keys() - SINGLE.keys())
    if unknown:
        raise UserError(f"FlexTok's config.json has unknown parts: {', '.join(unknown)}")
    single = {name: _checked(name, tree.get(name), *SINGLE[name]) for name in SINGLE}
    encoder, decoder = _section(tree, "encoder"), _section(tree, "decoder")
    try:
        config = FlexTokConfig(
            encoder=(encoder["enc_transformer"]["dim"], encoder["enc_transformer"]["depth"]),
            decoder=(decoder["dec_transformer"]["dim"], decoder["dec_transformer"]["depth"]),
            registers=encoder["enc_register_module"]["n_max"],
            head_dim=encoder["enc_transformer"]["head_dim"],
            grid=encoder["enc_posemb_module"]["max_sizes"][0],
            patch=encoder["enc_patch_emb"]["patch_sizes"][0],
            latent_channels=single["vae"]["latent_channels"],
            levels=tuple(single["regularizer"]["levels"]),
            # where the file does not state these three, the official classes' defaults count
            max_timestep=float(decoder["dec_time_embedder"].get("max_timestep", 1000.0)),
            scaling=float(single["vae"].get("scaling_factor", 1.0)),
            sample_posterior=bool(single["vae"].get("sample_posterior", True)),
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"FlexTok's config.json lacks or misstates a size ({error})") from error
    _check_widths("encoder", {m["dim"] for m in encoder.values() if "dim" in m}, config.encoder[0])
    _check_widths("decoder", {m["dim"] for m in decoder.values() if "dim" in m}, config.decoder[0])
    head_dims = {encoder["enc_transformer"]["head_dim"], decoder["dec_transformer"]["head_dim"]}
    _check_widths("head_dim", head_dims, config.head_dim)
    return config


def _check_widths(name: str, found: set[Any], expected: int) -> None:
    """Raise a UserError if modules that must have the same width have others."""
    if found != {expected}:
        raise UserError(f"FlexTok's config.json: {name} has the widths {sorted(found)}")


def config_of(tensors: Mapping[str, Tensor]) -> FlexTokConfig:
    """Return the shape of the network from a `config.json` that is stored as an asset, {"json": its bytes}.

    Raises:
        UserError: see `read_config`.
    """
    try:
        found = read_config(json.loads(bytes(tensors["json"].tolist())))
        return build(FlexTokConfig, asdict(found), "FlexTok's config.json")
    except UserError as error:  # it may show names from the file
        raise UserError(one_line(error, 300)) from error
    except Exception as error:  # whatever stands in the file where a module is expected
        raise UserError(f"FlexTok's config.json is not what the models have ({one_line(repr(error))})") from error


def check_config(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a stored `config.json` as it is, if `config_of` can read it.

    Raises:
        UserError: see `read_config`.
    """
    config_of(tensors)
    return tensors
