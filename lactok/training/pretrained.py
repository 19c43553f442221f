"""Load the weights that a training starts from: those of an earlier training, or published ones by asset."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError
from lactok.files import is_file
from lactok.nn.lactok_checkpoint import drop_cross_attention
from lactok.nn.lpips import LPIPS, load_lpips
from lactok.training.checkpoint import under_prefix
from lactok.weights.cache import load_safetensors
from lactok.weights.metadata import notes, shape
from lactok.weights.wrappers import peel

T = TypeVar("T")


def lpips_network(net: str) -> LPIPS:
    """Return a copy of the LPIPS network with "alex" or "vgg", on the CPU.

    It is a copy, since `load_lpips` returns the same network every time, and a learner moves and shards its networks.
    """
    return copy.deepcopy(load_lpips(net, "cpu"))


def find_weights(text: str, what: str) -> Path:
    """Return the safetensors file of given weights; those of an asset are fetched if need be.

    Args:
        text: path of the file, or name of an asset (`python -m lactok.weights list`).
        what: whose weights they are, for error messages.

    Raises:
        UserError: there is neither such a file nor such an asset.
    """
    path = Path(text).expanduser()
    if is_file(path):
        return path
    if "/" not in text and not path.suffix:
        assets = weights.known_assets()
        if text in assets:
            return weights.resolve(assets[text][0]).path
    raise UserError(f"{what}: {path} does not exist; train it first or name its weights in the recipe")


def shape_of(text: str, part: str, kind: type[T], what: str, otherwise: T | None = None) -> T:
    """Return the shape of the network that given weights belong to, as their file's metadata states it.

    Args:
        text, what: as in `find_weights`.
        part, kind, otherwise: as in `lactok.weights.metadata.shape`.

    Raises:
        UserError: there are no such weights, or they do not state their shape and there is no `otherwise`.
    """
    return shape(find_weights(text, what), part, kind, otherwise)


def load_weights(
    module: nn.Module, text: str, what: str, *, within: float = 1e-6, device: str = "cpu", **expected: float
) -> None:
    """Load given weights strictly into a network.

    A UNet's cross-attention to an empty text is left out, as the networks here do not have it.

    Args:
        module: the network.
        text, what: as in `find_weights`.
        device: "meta" looks at names and shapes alone, for a module on that device.
        within: the largest relative error of `scaling`: the one that a VAE's file states is measured on photographs.
        expected: values that the file's metadata must have if it has the key: `scaling`, of the VAE, and `stage`.

    Raises:
        UserError: there are no such weights, or they are those of another network, another stage or another VAE.
    """
    path = find_weights(text, what)
    found = notes(path)
    if "scaling" in expected and "scaling" in found:
        scaling, wanted = found["scaling"], expected["scaling"]
        if abs(scaling / wanted - 1) > within:
            raise UserError(
                f"{what}: {path} is of a VAE with scaling = {scaling:.4f}, the recipe has {wanted}; "
                f"set vae.scaling = {scaling:.4f} or name other weights"
            )
    if "stage" in expected and "stage" in found and found["stage"] != expected["stage"]:
        raise UserError(f"{what}: {path} is of stage {found['stage']}; name the weights of stage {expected['stage']}")
    weights.load_strict(module, drop_cross_attention(load_safetensors(path, device)), f"{what} of {path}")


def load_parts(
    module: nn.Module, names: tuple[str, ...], text: str, what: str, *, keep: str = "", device: str = "cpu"
) -> None:
    """Load some submodules strictly from one file, whose other tensors are ignored.

    Args:
        module: the module that has the submodules.
        names: names of the submodules, which are also the prefixes of their tensors in the file.
        text, what: as in `find_weights`.
        keep: name of a submodule that the file does not hold and that keeps its weights; empty for none.
        device: as in `load_weights`.

    Raises:
        UserError: there is no such file, or its tensors do not fit the submodules.
    """
    path = find_weights(text, what)
    needed = {f"{name}.{k}" for name in names for k in module.get_submodule(name).state_dict()}
    needed = {name for name in needed if not (keep and name.startswith(f"{keep}."))}
    tensors: dict[str, Tensor] = load_safetensors(path, device)
    tensors = peel(tensors, lambda taken: taken if needed <= taken.keys() else None, what) or tensors
    tensors.pop("quantize.codebook_used", None)  # LlamaGen's count of used codes, which is not a weight
    for name in names:
        loaded = under_prefix(name, tensors)
        part = module.get_submodule(name)
        if keep:
            loaded |= {k: v for k, v in part.state_dict().items() if f"{name}.{k}".startswith(f"{keep}.")}
        weights.load_strict(part, loaded, f"{name} of {path}")
