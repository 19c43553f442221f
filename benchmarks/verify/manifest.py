"""Names, shapes and dtypes of an official checkpoint against the model on the meta device."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lactok
from benchmarks.verify.checks import Checks
from lactok.errors import UserError, unknown
from lactok.specs import Asset

Tensors = dict[str, Tensor]
LISTS = ("tensors", "keys", "keys_list")  # where a manifest lists what the network needs
# manifest -> tokenizer whose network must have exactly these tensors
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
}


def replay(path: Path, alone: bool) -> Checks:
    """A manifest compared with the model that its name stands for.

    Args:
        alone: nothing else was named; then a model that is not built here is an error instead of a line.

    Raises:
        UserError: not a manifest, or, alone, of a model that is not built here.
    """
    checks, known = Checks(path.stem), path.stem in MODELS
    try:
        described = json.loads(path.read_text())
        key = next((key for key in LISTS if isinstance(described.get(key), list)), None)
        if key is None and not known and not alone:  # a model's configuration lies beside some manifests
            print(f"{path.stem}  skipped: lists no tensors, so it is no manifest", flush=True)
            return checks
        tensors, ignored = _empty(described[key or LISTS[0]]), _empty(described.get("ignored", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"{path} is not a manifest (JSON with a list `tensors`): {text}") from error
    if known:
        compare(MODELS[path.stem], tensors, ignored, checks)
    elif alone:
        raise unknown("manifest", path.stem, MODELS)
    else:
        checks.not_replayed("no model of this manifest is built here")
    return checks


def _empty(listed: list[dict[str, Any]]) -> Tensors:
    """Listed tensors on the meta device."""
    return {
        t["name" if "name" in t else "key"]: torch.empty(t["shape"], dtype=getattr(torch, t["dtype"]), device="meta")
        for t in listed
    }


def compare(name: str, tensors: Tensors, ignored: Tensors, checks: Checks) -> None:
    """One check a tensor that the network loads, and one for what the file has beside them.

    The manifest's names go through the conversion that the file itself goes through, so what is left out of a file
    (`ignored` in the manifest) is shown to be left out.
    """
    tokenizer = lactok.build(name)
    converted = tokenizer.spec.assets[0].converted(tensors | ignored)
    own = {name: signature(t) for name, t in tokenizer.get_submodule("model").state_dict().items()}
    for name, tensor in converted.items():
        checks.equal(name, own.get(name), signature(tensor))
    reason = left_out(tokenizer.spec.assets[0])
    named = [(name, reason(name)) for name in tensors]
    for name, why in named:
        if why:
            checks.skip(name, why)
    surplus = sum(not why for _, why in named) - len(converted)
    checks.equal("listed tensors that loading leaves out without a reason", surplus, 0, "none")
    checks.equal("tensors beside these", sorted(own.keys() - converted.keys()), [], "none")


def left_out(asset: Asset) -> Callable[[str], str]:
    """Why loading leaves a listed tensor out, by its name, as the converter's module says; "" for those it loads."""
    if asset.convert is None:
        return lambda name: ""
    module = importlib.import_module(asset.convert.partition(":")[0])
    return getattr(module, "left_out", lambda name: "")


def signature(tensor: torch.Tensor) -> list[object]:
    return [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
