"""Manifests: names, shapes and dtypes of the tensors of an official checkpoint, compared with this project's model.

The models are built on the meta device, without weights.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lactok
from benchmarks.verify.checks import Checks
from lactok import outside_text, registry
from lactok.errors import UserError, WrongValue, one_line, unknown
from lactok.outside_text import shown
from lactok.specs import Asset

Tensors = dict[str, Tensor]
LARGEST = 10**12  # numbers in a tensor
LISTS = ("tensors", "keys", "keys_list")  # a manifest lists the network's tensors under one of these keys
# file name of a manifest -> name of the tokenizer whose network must have exactly these tensors
MODELS = {
    "llamagen_vq16": "llamagen-vq16",
    "llamagen_vq8": "llamagen-vq8",
    "vqgan_f16_16384": "vqgan-f16-16384",
    "vqgan_f16_1024": "vqgan-f16-1024",
    "maskgit_vqgan_f16_256": "maskgit-vqgan-f16",
    "titok_s128": "titok-s128",
    "titok_b64": "titok-b64",
    "titok_l32": "titok-l32",
    "titok_sl256_vq8k": "titok-sl256",
    "titok_bl128_vq8k": "titok-bl128",
    "titok_bl64_vq8k": "titok-bl64",
    "flextok_d12_d12": "flextok-d12-d12",
    "flextok_d18_d18": "flextok-d18-d18",
    "flextok_d18_d28": "flextok-d18-d28",
    "seed2_quantizer": "seedtok-2",
    "lactok_t": "lactok-t",
    "magvitv2": "magvit-v2-showo",
    "ibq_in256_1024": "ibq-1k",
    "ibq_in256_8192": "ibq-8k",
    "ibq_in256_16384": "ibq-16k",
    "ibq_in256_262144": "ibq-262k",
    "ibq_pretrain256_16384": "ibq-16k-pretrain",
    "ibq_pretrain256_262144": "ibq-262k-pretrain",
    "open_magvit2_in128_262144": "open-magvit2-262k-128",
    "open_magvit2_in256_262144": "open-magvit2-262k",
    "open_magvit2_pretrain256_16384": "open-magvit2-16k-pretrain",
    "open_magvit2_pretrain256_262144": "open-magvit2-262k-pretrain",
    "var_vae_ch160v4096z32": "var-vqvae",
    "cosmos_di16x16": "cosmos-di16x16",
    "cosmos_di8x8": "cosmos-di8x8",
    "cosmos_di16x16_lowres": "cosmos-di16x16-lowres",
    "cosmos_di8x8_lowres": "cosmos-di8x8-lowres",
}
# the same for generators: name, network in the adapter, place of its file among the generator's
GENERATORS = {
    "lactokgen_t": ("lactokgen-t-star", "model", 0),
    "llamagen_gpt-xl-t2i-256": ("llamagen-t2i-256", "model", 0),
    "llamagen_gpt-xl-t2i-512": ("llamagen-t2i-512", "model", 0),
    "titok_gen_l32": ("titok-l32-gen", "model", 0),
    "titok_gen_b64": ("titok-b64-gen", "model", 0),
    "titok_gen_s128": ("titok-s128-gen", "model", 0),
    "showo_t2i_256": ("show-o-256", "model", 0),
    "showo_t2i_512": ("show-o-512", "model", 0),
    "hart_t2i_0.7b.reconstructed": ("hart-0.7b", "model", 0),
    "hart_tokenizer.reconstructed": ("hart-0.7b", "autoencoder", 2),
}


def replay(path: Path, alone: bool) -> Checks:
    """Compare a manifest with the model that its file name stands for.

    Args:
        path: the manifest.
        alone: whether the user named nothing else; then a model that is not built here is an error instead of a line.

    Raises:
        UserError: the file is not a manifest, or it is alone and its model is not built here.
    """
    checks = Checks(path.stem)
    known = path.stem in MODELS or path.stem in GENERATORS
    try:
        content = outside_text.json_object(outside_text.read(path, path.name), path.name)
        keys = [key for key in LISTS if isinstance(content.get(key), list)]
        if not keys and not known and not alone:  # a model's configuration lies beside some manifests
            print(f"{path.stem}  skipped: lists no tensors, so it is no manifest", flush=True)
            return checks
        tensors = _meta_tensors(content[keys[0] if keys else LISTS[0]])
        ignored = _meta_tensors(content.get("ignored", []) + content.get("ema_ignored", []))
        averages = _meta_tensors(content.get("ema", []))
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        text = f"{error} is missing" if type(error) is KeyError else one_line(error)
        raise UserError(f"{shown(path, 200)} is not a manifest (JSON with a list `tensors`): {text}") from error
    if path.stem in MODELS:
        tokenizer = lactok.build(MODELS[path.stem])
        compare(tokenizer.get_submodule("model"), tokenizer.spec.assets[0], tensors, ignored, checks, averages)
    elif path.stem in GENERATORS:
        name, part, place = GENERATORS[path.stem]
        with torch.device("meta"):
            generator = registry.GENERATORS.entry(name).create()
        compare(generator.get_submodule(part), generator.spec.assets[place], tensors, ignored, checks)
    elif alone:
        raise unknown("manifest", path.stem, [*MODELS, *GENERATORS])
    else:
        checks.not_replayed("no model of this manifest is built here")
    return checks


def _meta_tensors(listed: list[dict[str, Any]]) -> Tensors:
    """Return tensors on the meta device by name, from a manifest's list of names (or keys), shapes and dtypes."""
    tensors = {}
    for entry in listed:
        name = entry["name"] if "name" in entry else entry["key"]
        shape = entry["shape"]
        if not isinstance(shape, list) or not all(type(side) is int and 0 <= side <= LARGEST for side in shape):
            raise WrongValue(f"the shape of {shown(name)} is {shown(shape)}: write whole numbers from 0 to {LARGEST:,}")
        if math.prod(shape) > LARGEST:
            raise WrongValue(f"{shown(name)} of shape {shown(shape)}: {LARGEST:,} numbers at most")
        tensors[name] = torch.empty(shape, dtype=getattr(torch, entry["dtype"]), device="meta")
    return tensors


def compare(
    network: nn.Module,
    asset: Asset,
    tensors: Tensors,
    ignored: Tensors,
    checks: Checks,
    averages: Tensors | None = None,
) -> None:
    """Check every tensor that the network loads, and that nothing is listed or needed beside them.

    The listed tensors go through the same conversion as the official file, so that a tensor which loading is said to
    leave out (`ignored` in the manifest) must really be left out.

    Args:
        network: on the meta device.
        asset: its file.
        tensors: the tensors of the official checkpoint, on the meta device.
        ignored: further tensors of that file, which are not loaded.
        checks: where the comparisons are counted.
        averages: the averaged weights of that file, which are loaded instead of `tensors` where there are any.
    """
    converted = asset.converted(tensors | ignored | (averages or {}))
    own = {name: signature(t) for name, t in network.state_dict().items()}
    for name, tensor in converted.items():
        checks.equal(name, own.get(name), signature(tensor))
    reason_of = left_out(asset)
    loaded = 0
    for name in tensors:
        reason = reason_of(name)
        if reason:
            checks.skip(name, reason)
        else:
            loaded += 1
    surplus = loaded - len(converted)
    checks.equal("listed tensors that loading leaves out without a reason", surplus, 0, "none")
    if averages:
        taken = {id(tensor) for tensor in converted.values()}
        left = sorted(name for name, tensor in averages.items() if id(tensor) not in taken)
        checks.equal("averaged weights that are not loaded", left, [], "none")
    checks.equal("tensors beside these", sorted(own.keys() - converted.keys()), [], "none")


def left_out(asset: Asset) -> Callable[[str], str]:
    """Return a function from a tensor's name to the reason why loading leaves it out; "" for tensors that are loaded.

    It is the function `left_out` of the module that converts the file, if that module has one.
    """
    if asset.convert is None:
        return lambda name: ""
    module = importlib.import_module(asset.convert.partition(":")[0])
    return getattr(module, "left_out", lambda name: "")


def signature(tensor: torch.Tensor) -> list[object]:
    """Return shape and dtype of a tensor, which are all that a manifest knows of it."""
    return [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
