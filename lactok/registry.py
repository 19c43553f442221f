"""Tokenizers and generators by name: lazy tables of this project's own, entry points of packages, a decorator each.

A name is looked up without importing torch; only loading imports the adapter's module, which registers what it has.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lactok.errors import UserError, unknown
from lactok.specs import GeneratorInfo, TokenizerInfo

if TYPE_CHECKING:
    import torch

    from lactok.tokenizer import Generator, Tokenizer
    from lactok.weights import Resolved

C = TypeVar("C", bound=Callable[..., Any])
I = TypeVar("I", TokenizerInfo, GeneratorInfo)  # noqa: E741
M = TypeVar("M", bound="Tokenizer | Generator")

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
    "titok-s128-tiny": "baselines.titok",
    "flextok-d12-d12": "baselines.flextok",
    "flextok-d18-d18": "baselines.flextok",
    "flextok-d18-d28": "baselines.flextok",
    "flextok-d18-d28-dfn": "baselines.flextok",
    "flextok-tiny": "baselines.flextok",
    "seedtok-2": "baselines.seedtok",
    "seedtok-tiny": "baselines.seedtok",
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

GENERATORS = {
    "sd1.5": "baselines.diffusion",
    "sdxl": "baselines.diffusion",
    "sd3": "baselines.diffusion",
    "flux.1-dev": "baselines.diffusion",
}


@dataclass(frozen=True)
class Entry(Generic[I, M]):
    """A registered tokenizer or generator: what it is and how its network is made."""

    info: I
    factory: Callable[..., M]
    arguments: dict[str, Any]

    def create(self) -> M:
        return self.factory(self.info, **self.arguments)


_registered: dict[str, Entry[TokenizerInfo, Tokenizer]] = {}
_registered_generators: dict[str, Entry[GeneratorInfo, Generator]] = {}


@lru_cache(maxsize=1)
def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="lactok.tokenizers")}


@lru_cache(maxsize=1)
def _generator_plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="lactok.generators")}


@dataclass(frozen=True)
class _Kind(Generic[I, M]):
    """All there is of one kind.

    Attributes:
        what, decorator: their words in messages.
        modules: name -> module of this project that registers it.
        unlisted: of those, the ones that are known but not listed.
        plugins: entry points of installed packages, by name.
        registered: what has been imported.
    """

    what: str
    decorator: str
    modules: Mapping[str, str]
    unlisted: Mapping[str, str]
    plugins: Mapping[str, EntryPoint]
    registered: dict[str, Entry[I, M]]

    def names(self) -> list[str]:
        known = dict.fromkeys([*self.modules, *self.plugins, *self.registered])
        return [name for name in known if name not in self.unlisted]

    def check(self, name: str) -> None:
        base = name.partition("@")[0]
        if base not in self.names() and base not in self.unlisted:
            raise unknown(self.what, base, self.names())

    def add(self, info: I, arguments: dict[str, Any]) -> Callable[[C], C]:
        def add(factory: C) -> C:
            known = self.registered.get(info.name)
            if known is not None and _origin(known.factory) != _origin(factory):
                raise UserError(f"two adapters are named {info.name!r}: {known.factory!r} and {factory!r}; rename one")
            self.registered[info.name] = Entry(info, factory, arguments)
            return factory

        return add

    def entry(self, name: str) -> Entry[I, M]:
        base, at, options = name.partition("@")
        self.check(base)
        if base not in self.registered:
            if module := self.modules.get(base, self.unlisted.get(base)):
                importlib.import_module(module)
            else:
                self._import_plugin(base)
        if at and not options:
            raise UserError(f"{name!r}: options are missing after @, as in {base}@NAME=VALUE")
        found = self.registered[base]
        return Entry(found.info.with_options(options), found.factory, found.arguments)

    def _import_plugin(self, name: str) -> None:
        point = self.plugins[name]
        try:
            point.load()
        except (Exception, SystemExit) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"plug-in {name!r} ({point.value}) cannot be imported: {text}") from error
        if name not in self.registered:
            raise UserError(
                f"plug-in {point.value} does not register {name!r}; decorate its class with @lactok.{self.decorator}"
            )


def _tokenizers() -> _Kind[TokenizerInfo, Tokenizer]:
    return _Kind("tokenizer", "register", TOKENIZERS, STUDIES, _plugins(), _registered)


def _generators() -> _Kind[GeneratorInfo, Generator]:
    return _Kind("generator", "register_generator", GENERATORS, {}, _generator_plugins(), _registered_generators)


def _origin(factory: Callable[..., Any]) -> tuple[str, str]:
    """Module and name, which stay the same when a module is loaded twice."""
    return factory.__module__, factory.__qualname__


def register(info: TokenizerInfo, **arguments: Any) -> Callable[[C], C]:
    """Class decorator: `factory(info, **arguments)` makes the tokenizer `info.name`, without weights.

    May be stacked, one decorator a configuration. Raises UserError when another adapter has the name already.
    """
    return _tokenizers().add(info, arguments)


def register_generator(info: GeneratorInfo, **arguments: Any) -> Callable[[C], C]:
    """As `register`, of a generator."""
    return _generators().add(info, arguments)


def names() -> list[str]:
    """All tokenizers by name, this project's first, without importing any; those of ablation studies are left out."""
    return _tokenizers().names()


def generators() -> list[str]:
    """All generators by name, this project's first, without importing any."""
    return _generators().names()


def check_name(name: str) -> None:
    """Raise UserError for a name that nobody registers, without importing torch."""
    _tokenizers().check(name)


def entry(name: str) -> Entry[TokenizerInfo, Tokenizer]:
    """The registered tokenizer of a full name, options after `@` applied.

    Raises:
        UserError: unknown name or option, or a plug-in that cannot be imported; the message says which.
    """
    return _tokenizers().entry(name)


def generator_entry(name: str) -> Entry[GeneratorInfo, Generator]:
    """As `entry`, of a generator."""
    return _generators().entry(name)


def info(name: str) -> TokenizerInfo:
    return entry(name).info


def generator_info(name: str) -> GeneratorInfo:
    """As `info`, of a generator: "sdxl@steps=30"."""
    return generator_entry(name).info


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
        UserError: unknown name, option or dtype, damaged or foreign weights.
        WeightsNotFound: no source has them; never a network with random weights.
    """
    computed = _compute_dtype(dtype)
    tokenizer = _with_weights(entry(name))
    tokenizer.place(device, computed, offload, compile)
    return tokenizer


def load_generator(name: str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Generator:
    """A generator with its weights, in eval mode.

    Args:
        name: with options after `@`, for example "sdxl@steps=30,guidance=5".
        device: where it computes; pictures come back on it.
        dtype: compute dtype, float32 if not given; pictures stay float32.

    Raises:
        UserError: unknown name, option or dtype, damaged or foreign weights.
        WeightsNotFound: no source has them; never a network with random weights.
    """
    computed = _compute_dtype(dtype)
    generator = _with_weights(generator_entry(name))
    generator.place(device, computed)
    return generator


def _compute_dtype(given: object) -> torch.dtype:
    import torch

    if given is None:
        return torch.float32
    if not isinstance(given, torch.dtype) or not given.is_floating_point:
        raise UserError(f"dtype {given!r}: not a torch dtype to compute in; for example torch.bfloat16")
    return given


def _with_weights(found: Entry[I, M]) -> M:
    """The network of an entry with its assets loaded, wherever it was made."""
    import torch

    from lactok import weights

    assets = {asset.name: weights.load(asset) for asset in found.info.assets}
    with torch.device("meta") if assets else torch.device("cpu"):
        model = found.create()
    if assets:
        model.load_assets(assets)
    named = {**model.state_dict(), **dict(model.named_buffers())}  # also buffers that no file stores
    unloaded = [k for k, v in named.items() if v.is_meta]
    if unloaded:
        raise UserError(
            f"{found.info.name}: its adapter left {len(unloaded)} tensors without weights ({unloaded[0]}, ...)"
        )
    model.eval().requires_grad_(False)
    return model
