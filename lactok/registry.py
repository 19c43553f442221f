"""Tokenizers by name: a lazy table of this project's own, entry points of installed packages, a decorator.

A name is looked up without importing torch; only loading imports the adapter's module, which registers what it has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import UserError, unknown
from lactok.info import TokenizerInfo

if TYPE_CHECKING:
    import torch

    from lactok.tokenizer import Tokenizer
    from lactok.weights import Resolved

C = TypeVar("C", bound=Callable[..., Any])

# name -> module that registers it; the order is that of the tables
TOKENIZERS = {
    "lactok-h": "baselines.lactok",
    "lactok-h-star": "baselines.lactok",
    "lactok-t": "baselines.lactok",
    "lactok-t-star": "baselines.lactok",
    "lactok-h-tiny": "baselines.lactok",
    "lactok-t-tiny": "baselines.lactok",
    "llamagen-vq16": "baselines.llamagen",
    "llamagen-vq16-t2i": "baselines.llamagen",
    "llamagen-vq8": "baselines.llamagen",
    "llamagen-vq16-tiny": "baselines.llamagen",
    "vqgan-f16-16384": "baselines.vqgan",
    "vqgan-f16-1024": "baselines.vqgan",
    "maskgit-vqgan-f16": "baselines.vqgan",
    "titok-s128": "baselines.titok",
    "titok-b64": "baselines.titok",
    "titok-l32": "baselines.titok",
    "titok-sl256": "baselines.titok",
    "titok-bl128": "baselines.titok",
    "titok-bl64": "baselines.titok",
    "flextok-d12-d12": "baselines.flextok",
    "flextok-d18-d18": "baselines.flextok",
    "flextok-d18-d28": "baselines.flextok",
    "flextok-d18-d28-dfn": "baselines.flextok",
    "seedtok-2": "baselines.seedtok",
    "identity": "baselines.reference",
    "resize-8": "baselines.reference",
    "resize-12": "baselines.reference",
    "resize-16": "baselines.reference",
    "resize-256": "baselines.reference",
    "jpeg": "baselines.reference",
    "webp": "baselines.reference",
    "avif": "baselines.reference",
}

# parts of ablation studies: loaded by name like any other, but no rows of `all`
STUDIES = {f"vq-ladd{sampler}{scale}": "baselines.lactok" for scale in ("", "-tiny") for sampler in ("", "-h", "-t")}


@dataclass(frozen=True)
class Entry:
    """A registered tokenizer: what it is and how its network is made."""

    info: TokenizerInfo
    factory: Callable[..., Tokenizer]
    arguments: dict[str, Any]

    def create(self) -> Tokenizer:
        return self.factory(self.info, **self.arguments)


_registered: dict[str, Entry] = {}


def _origin(factory: Callable[..., Any]) -> tuple[str, str]:
    """Module and name, which stay the same when a module is loaded twice."""
    return factory.__module__, factory.__qualname__


def register(info: TokenizerInfo, **arguments: Any) -> Callable[[C], C]:
    """Class decorator: `factory(info, **arguments)` makes the tokenizer `info.name`, without weights.

    May be stacked, one decorator a configuration. Raises UserError when another adapter has the name already.
    """

    def add(factory: C) -> C:
        known = _registered.get(info.name)
        if known is not None and _origin(known.factory) != _origin(factory):
            raise UserError(f"two adapters are named {info.name!r}: {known.factory!r} and {factory!r}; rename one")
        _registered[info.name] = Entry(info, factory, arguments)
        return factory

    return add


@lru_cache(maxsize=1)
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="lactok.tokenizers")}


def names() -> list[str]:
    """All tokenizers by name, this project's first, without importing any; those of ablation studies are left out."""
    known = dict.fromkeys([*TOKENIZERS, *_plugins(), *_registered])
    return [name for name in known if name not in STUDIES]


def check_name(name: str) -> None:
    """Raise UserError for a name that nobody registers, without importing torch."""
    base = name.partition("@")[0]
    if base not in names() and base not in STUDIES:
        raise unknown("tokenizer", base, names())


def entry(name: str) -> Entry:
    """The registered tokenizer of a full name, options after `@` applied.

    Raises:
        UserError: unknown name or option, or a plug-in that cannot be imported; the message says which.
    """
    base, at, options = name.partition("@")
    check_name(base)
    if base not in _registered:
        if base in TOKENIZERS or base in STUDIES:
            importlib.import_module((TOKENIZERS | STUDIES)[base])
        else:
            point = _plugins()[base]
            try:
                point.load()
            except (Exception, SystemExit) as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                raise UserError(f"plug-in {base!r} ({point.value}) cannot be imported: {text}") from error
            if base not in _registered:
                raise UserError(
                    f"plug-in {point.value} does not register {base!r}; decorate its class with @lactok.register"
                )
    if at and not options:
        raise UserError(f"{name!r}: options are missing after @, as in {base}@NAME=VALUE")
    found = _registered[base]
    return Entry(found.info.with_options(options), found.factory, found.arguments)


def info(name: str) -> TokenizerInfo:
    return entry(name).info


def resolve_assets(name: str) -> dict[str, Resolved]:
    """The assets of a tokenizer on disk, fetched if need be; raises WeightsNotFound."""
    from lactok import weights

    return {asset.name: weights.resolve(asset) for asset in entry(name).info.assets}


def build(name: str, device: str | torch.device = "meta") -> Tokenizer:
    """The network without weights: for manifests, sizes and speed, never for results."""
    import torch

    with torch.device(device):
        return entry(name).create().eval()


def load(
    name: str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, *, offload: bool = False,
    compile: bool = False,
) -> Tokenizer:  # fmt: skip
    """A tokenizer with its weights, in eval mode.

    Args:
        name: with options after `@`, for example "flextok-d18-d28@tokens=64".
        device: where it computes; inputs may be anywhere.
        dtype: compute dtype (autocast), float32 if not given; inputs and outputs stay float32.
        offload: keep the weights in main memory and bring each layer to the device when it computes: slow, for a
            device on which they do not fit. LaCTok has it.
        compile: `torch.compile` the networks; the first call takes minutes. LaCTok has it.

    Raises:
        UserError: unknown name or option, damaged or foreign weights.
        WeightsNotFound: no source has them; never a network with random weights.
    """
    import torch

    from lactok import weights

    found = entry(name)
    assets = {asset.name: weights.load(asset) for asset in found.info.assets}
    with torch.device("meta") if assets else torch.device("cpu"):
        tokenizer = found.create()
    if assets:
        tokenizer.load_assets(assets)
    named = {**tokenizer.state_dict(), **dict(tokenizer.named_buffers())}  # also buffers that no file stores
    unloaded = [k for k, v in named.items() if v.is_meta]
    if unloaded:
        raise UserError(f"{name}: its adapter left {len(unloaded)} tensors without weights ({unloaded[0]}, ...)")
    tokenizer.eval().requires_grad_(False)
    tokenizer.place(device, dtype or torch.float32, offload, compile)
    return tokenizer
