"""What a training takes as given: weights of an earlier training, or published ones by the name of their asset."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError
from lactok.nn.lactok_checkpoint import drop_cross_attention
from lactok.weights.cache import load_safetensors
from lactok.weights.metadata import notes, shape

T = TypeVar("T")


def find(text: str, what: str) -> Path:
    """A safetensors file by its path, or by the name of an asset (`python -m lactok.weights list`), fetched if need be.

    Raises:
        UserError: neither; `what` says whose weights are meant.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return path
    assets = weights.known_assets() if "/" not in text and not path.suffix else {}
    if text in assets:
        return weights.resolve(assets[text][0]).path
    raise UserError(f"{what}: {path} does not exist; train it first or name its weights in the recipe")


def shape_of(text: str, part: str, kind: type[T], what: str, otherwise: T | None = None) -> T:
    """The shape of the network that given weights are of.

    Args:
        text: a file or the name of an asset, as in `find`; `what` says whose weights are meant.
        part, kind, otherwise: as in `lactok.weights.metadata.shape`.
    """
    return shape(find(text, what), part, kind, otherwise)


def load_weights(module: nn.Module, text: str, what: str, *, within: float = 1e-6, **expected: float) -> None:
    """Strictly load given weights into a network; of a UNet's, those of attention over zero text are left out.

    Args:
        within: how far the scaling may be off, relative: a VAE's own is measured on photographs.
        expected: what the notes beside the weights must say where they say it: `scaling` of the VAE, `stage`.

    Raises:
        UserError: no such weights, weights of another network, of another stage or of another VAE scaling.
    """
    path = find(text, what)
    found = notes(path)
    if "scaling" in expected and abs(found.get("scaling", expected["scaling"]) / expected["scaling"] - 1) > within:
        raise UserError(
            f"{what}: {path} is of a VAE with scaling = {found['scaling']:.4f}, the recipe has {expected['scaling']}; "
            f"set vae.scaling = {found['scaling']:.4f} or name other weights"
        )
    if "stage" in expected and found.get("stage", expected["stage"]) != expected["stage"]:
        raise UserError(f"{what}: {path} is of stage {found['stage']}; name the weights of stage {expected['stage']}")
    weights.load_strict(module, drop_cross_attention(load_safetensors(path)), f"{what} of {path}")


def load_parts(module: nn.Module, names: tuple[str, ...], text: str, what: str, *, keep: str = "") -> None:
    """Strictly load some submodules, each with its part of one file; what else the file holds is not needed.

    Args:
        keep: a submodule that the file does not hold and that stays as it is.
    """
    path = find(text, what)
    tensors: dict[str, Tensor] = load_safetensors(path)
    tensors.pop("quantize.codebook_used", None)  # LlamaGen's usage buffer
    for name in names:
        inside = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        part = module.get_submodule(name)
        if keep:
            inside |= {k: v for k, v in part.state_dict().items() if f"{name}.{k}".startswith(f"{keep}.")}
        weights.load_strict(part, inside, f"{name} of {path}")
