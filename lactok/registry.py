"""Tokenizers and generators by name, from packages of adapters, entry points, decorators and files of users.

A name is looked up without importing torch; only loading imports the adapter's module, whose decorators register what
is in it. Entry points of the group `lactok.adapters` name the packages of adapters; `lactok.plugins` reads these.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lactok.adapters import FILE, Adapters, C, Entry, M, S, check_text
from lactok.device import check_device
from lactok.errors import UserError, WrongValue, unknown
from lactok.extras import extras_named
from lactok.specs import Asset, GeneratorSpec, TokenizerSpec

if TYPE_CHECKING:
    import torch

    from lactok.tokenizer import Generator, Reconstructor, Tokenizer
    from lactok.weights import Resolved

TOKENIZERS: Adapters[TokenizerSpec, Tokenizer] = Adapters("tokenizer", "register", "lactok.tokenizers")
GENERATORS: Adapters[GeneratorSpec, Generator] = Adapters("generator", "register_generator", "lactok.generators")


def register(spec: TokenizerSpec, *, listed: bool = True, **arguments: Any) -> Callable[[C], C]:
    """Return a class decorator that registers a tokenizer under `spec.name`.

    The class (or function) must make the network, without weights, when it is called as `factory(spec, **arguments)`.
    Decorators may be stacked, one for each configuration. The name must stand in the decorator as a literal string,
    since it is read from there before the module is imported.

    Args:
        spec: what is fixed about the tokenizer before it is loaded.
        listed: False for parts of studies, which are loaded by name like any other but do not belong to `all`.
        arguments: keyword arguments of the constructor, besides `spec`.

    Raises:
        WrongValue: another adapter has the name already.

    >>> from lactok.tokenizer import Tokenizer
    >>> @register(TokenizerSpec("mean-colour", "example", 1, 4096, 64, 64, "MIT"))
    ... class MeanColour(Tokenizer):
    ...     def _encode(self, images, seeds):
    ...         red, green, blue = (images.mean((2, 3)) * 15).round().long().unbind(1)
    ...         return (red * 256 + green * 16 + blue)[:, None]
    ...     def _decode(self, ids, seeds):
    ...         levels = torch.stack([ids // 256, ids // 16 % 16, ids % 16], 1) / 15
    ...         return levels[..., None].expand(-1, -1, 64, 64)
    >>> import torch
    >>> load("mean-colour").encode(torch.ones(1, 3, 64, 64))
    tensor([[4095]])
    >>> _ = TOKENIZERS.registered.pop("mean-colour")  # as if it had never been
    """
    return TOKENIZERS.register(spec, arguments)


def register_generator(spec: GeneratorSpec, **arguments: Any) -> Callable[[C], C]:
    """Return a class decorator that registers a generator under `spec.name`.

    Args:
        spec: what is fixed about the generator.
        arguments: further arguments of the class, as of `register`.

    >>> from lactok.tokenizer import Generator
    >>> @register_generator(GeneratorSpec("grey", "example", "text", 64, "MIT"))
    ... class Grey(Generator):
    ...     def _generate(self, conditions, seeds):
    ...         return torch.full((len(seeds), 3, 64, 64), 0.5)
    >>> import torch
    >>> load_generator("grey").generate(["a red bus"], seeds=[7]).shape
    torch.Size([1, 3, 64, 64])
    >>> _ = GENERATORS.registered.pop("grey")
    """
    return GENERATORS.register(spec, arguments)


def _filtered(adapters: Adapters[S, M], filter: str | Callable[[S], bool] | None) -> list[str]:
    """Return the listed names that match a part of a name, a pattern or a function of the spec; all for None."""
    names = adapters.names()
    if filter is None:
        return names
    if isinstance(filter, str):
        pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
        return [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    return [name for name in names if filter(adapters.spec(name))]


def list_tokenizers(filter: str | Callable[[TokenizerSpec], bool] | None = None) -> list[str]:
    """Return the names of all tokenizers, this project's first; those of studies are left out.

    Args:
        filter: a part of the name, or a pattern with `*` and `?`; or a function that takes a spec and returns whether
            it is wanted.

    >>> list_tokenizers("resize-*")
    ['resize-8', 'resize-12', 'resize-16', 'resize-256']
    >>> list_tokenizers(lambda spec: spec.tokens == 32)
    ['titok-l32', 'seedtok-2', 'seedtok-tiny']
    """
    return _filtered(TOKENIZERS, filter)


def list_generators(filter: str | Callable[[GeneratorSpec], bool] | None = None) -> list[str]:
    """Return the names of all generators, this project's first.

    Args:
        filter: as of `list_tokenizers`.

    >>> list_generators("sd")
    ['sd1.5', 'sdxl', 'sd3']
    """
    return _filtered(GENERATORS, filter)


def spec(name: str, **options: object) -> TokenizerSpec | GeneratorSpec:
    """Return what is fixed about a tokenizer or a generator before it is loaded; no weights are needed.

    Args:
        name: a name, which may carry options after `@`, or FILE.py:CLASS.
        options: options by keyword, instead of after `@`.

    Raises:
        UnknownName: there is no such tokenizer, generator or option.
        WrongValue: an option's value is not allowed.

    >>> spec("flextok-d18-d28", tokens=64).tokens
    64
    >>> spec("sdxl").condition
    'text'
    """
    check_text(name)
    base = name.partition("@")[0]
    if base in GENERATORS.names():
        return generator_spec(name, **options)
    if FILE.fullmatch(base) is None and base not in TOKENIZERS.own() and base not in TOKENIZERS.names():
        raise unknown("tokenizer or generator", base, [*TOKENIZERS.names(), *GENERATORS.names()])
    return tokenizer_spec(name, **options)


def tokenizer_spec(name: str, **options: object) -> TokenizerSpec:
    """Return the spec of a tokenizer; see `spec`."""
    return TOKENIZERS.spec(name, **options)


def generator_spec(name: str, **options: object) -> GeneratorSpec:
    """Return the spec of a generator; see `spec`."""
    return GENERATORS.spec(name, **options)


def resolve_assets(name: str) -> dict[str, Resolved]:
    """Return where a tokenizer's assets lie on disk, by asset name; they are fetched if need be.

    Raises:
        WeightsNotFound: no source has one of them.
    """
    from lactok import weights

    return {asset.name: weights.resolve(asset) for asset in tokenizer_spec(name).assets}


def assets() -> dict[str, tuple[Asset, ...]]:
    """Return the assets of every tokenizer and generator by its name, those of studies included.

    A plug-in that cannot be imported is left out with a warning.
    """
    import logging

    found: dict[str, tuple[Asset, ...]] = {}
    for adapters in (TOKENIZERS, GENERATORS):
        for name in dict.fromkeys([*adapters.names(), *adapters.own()]):
            try:
                found[name] = adapters.spec(name).assets
            except UserError as error:  # a broken plug-in must not hide the others
                logging.getLogger(__name__).warning("left out: %s", error)
    return found


def generator_settings(name: str) -> dict[str, Any]:
    """Return all that a generator's pictures depend on, for JSON: name, options, version, digests of the weights.

    Raises:
        WeightsNotFound: no source has the weights.
    """
    import torch

    from lactok import weights

    entry = GENERATORS.entry(name)
    digests = {asset.name: weights.resolve(asset).sha256 for asset in entry.spec.assets}
    if entry.spec.tokenizer is not None:
        digests |= {asset: found.sha256 for asset, found in resolve_assets(entry.spec.tokenizer).items()}
    with torch.device("meta"):
        more = entry.create().settings()
    settings = {"name": entry.spec.name, "options": dict(entry.spec.values), "version": entry.spec.version}
    return settings | {"assets": digests} | ({"code": entry.code} if entry.code else {}) | more


def build(name: str, device: str | torch.device = "meta", **options: object) -> Tokenizer:
    """Make a tokenizer's network without weights: for lists of its tensors, its size and its speed, not for results.

    Suites refuse it until you load weights of your own into it by `load_state_dict`.

    Args:
        name: a name, which may carry options after `@`, or FILE.py:CLASS.
        device: "meta" gives no memory to the tensors; on another device their values are random.
        options: options by keyword, instead of after `@`.

    Raises:
        UnknownName: there is no such name or option.
        WrongValue: an option's value is not allowed.

    >>> sum(p.numel() for p in build("llamagen-vq16").parameters())
    71883403
    """
    import torch

    with extras_named(("networks",), name), torch.device(device):
        model = TOKENIZERS.entry(name, **options).create().eval()
    if model.state_dict():
        model.without_weights = True
        for module in model.modules():
            module.register_load_state_dict_post_hook(partial(_has_weights, model))
    return model


def _has_weights(model: Reconstructor, _module: object, _keys: object) -> None:
    """Take the mark `without_weights` off a network of `build`; torch calls this when weights were loaded into it."""
    model.__dict__.pop("without_weights", None)


def load(
    name: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    offload: bool = False,
    compile: bool = False,
    **options: object,
) -> Tokenizer:
    """Return a tokenizer with its weights, in eval mode.

    Args:
        name: a name, which may carry options after `@` ("flextok-d18-d28@tokens=64"), or FILE.py:CLASS.
        device: where it computes; inputs may be on any device.
        dtype: compute dtype (autocast) or its name, float32 if not given; inputs and outputs stay float32.
        offload: keep the weights in main memory and bring each layer to the device when it computes. This is slow; it
            is for a device on which the weights do not fit. Only LaCTok can do it.
        compile: use `torch.compile`; the first call then takes minutes. Only LaCTok can do it.
        options: options by keyword, instead of after `@`: `tokens=64`.

    Raises:
        UnknownName: there is no such name or option.
        WrongValue: an option's value or the dtype is not allowed, or the machine has no such GPU.
        WeightsNotFound: no source has the weights; a network with random weights is never returned.
        MissingPackage: the network needs a package of an extra that is not installed.
        UserError: the weights are damaged or of another network.

    >>> load("llamagen-vq16-tiny").spec.bits
    3072.0
    """
    TOKENIZERS.packages()  # without an installation that is said, and not that torch is missing
    with extras_named(("networks",), name):
        computed = _compute_dtype(dtype)
        _check_gpu(device)
        tokenizer = _with_weights(TOKENIZERS.entry(name, **options))
        tokenizer.place(device, computed, offload, compile)
    return tokenizer


def load_generator(
    name: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    compile: bool = False,
    **options: object,
) -> Generator:
    """Return a generator with its weights, in eval mode.

    Args:
        name: a name, which may carry options after `@` ("sdxl@steps=30,guidance=5"), or FILE.py:CLASS.
        device: where it computes; pictures come back on it.
        dtype: compute dtype or its name, float32 if not given; pictures stay float32.
        compile: use `torch.compile`; the first call then takes minutes. LaCTok's and LlamaGen's generators can do it.
        options: options by keyword, instead of after `@`.

    Raises:
        UnknownName: there is no such name or option.
        WrongValue: an option's value or the dtype is not allowed, or the machine has no such GPU.
        WeightsNotFound: no source has the weights; a network with random weights is never returned.
        MissingPackage: the network needs a package of an extra that is not installed.
        UserError: the weights are damaged or of another network.
    """
    GENERATORS.packages()  # as in `load`
    with extras_named(("networks",), name):
        computed = _compute_dtype(dtype)
        _check_gpu(device)
        generator = _with_weights(GENERATORS.entry(name, **options))
        generator.place(device, computed)
        if compile:
            generator.compile_steps()
    return generator


def _compute_dtype(given: object) -> torch.dtype:
    """Return the dtype that an argument `dtype` means; raise WrongValue if it is no floating-point dtype of torch."""
    import torch

    if given is None:
        return torch.float32
    found = getattr(torch, given, None) if isinstance(given, str) else given
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise WrongValue(f"`dtype` {given!r}: not a torch dtype to compute in; for example torch.bfloat16")
    return found


def _check_gpu(device: object) -> None:
    """Raise WrongValue for a GPU that this machine does not have."""
    if str(device).partition(":")[0] in ("cuda", "mps"):
        check_device(str(device))


def _with_weights(found: Entry[S, M]) -> M:
    """Return the network of an entry with its assets loaded, in eval mode and without gradients.

    Raises:
        UserError: the adapter left a parameter or buffer without weights.
    """
    import torch

    from lactok import weights
    from lactok.weights.wrappers import load_parts

    def filled(assets: dict[str, dict[str, torch.Tensor]]) -> M:
        with torch.device("meta") if assets else torch.device("cpu"):
            model = found.create()
        if assets:
            model.load_assets(assets)
        return model

    model = load_parts(filled, {asset.name: weights.load(asset) for asset in found.spec.assets})
    named = {**model.state_dict(), **dict(model.named_buffers())}  # `state_dict` lacks non-persistent buffers
    unloaded = [k for k, v in named.items() if v.is_meta]
    if unloaded:
        raise UserError(
            f"{found.spec.name}: its adapter left {len(unloaded)} tensors without weights ({unloaded[0]}, ...)"
        )
    model.eval().requires_grad_(False)
    return model
