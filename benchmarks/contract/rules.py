"""The rules that `benchmarks.contract` tries, in the order in which mistakes are best mended.

A rule is a function of a `Trial`. Where it holds, it returns in words what was found; else it raises `Broken` with what
is wrong and how to mend it, `NotTried`, or `Inapplicable`. Any other exception comes from the adapter itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import get_args

import torch

import lactok
from benchmarks.contract.probe import (
    PIXEL_TOLERANCE,
    Broken,
    Inapplicable,
    NotTried,
    Trial,
    implements_reconstruct,
    location,
    one_line,
)
from lactok import registry
from lactok.errors import UserError
from lactok.plugins import places
from lactok.specs import Fit, Kind, Resample
from lactok.tokenizer import Reconstructor, Tokenizer

Rule = Callable[[Trial], str]

MAX_SHARE_OUTSIDE = 0.05  # a larger share of values beyond [-0.1, 1.1] is no overshoot but a wrong scale
MIN_RANGE = 0.1  # the output of photographs that spans less than this has a wrong scale
NOISE_ADVICE = "draw noise by lactok.randomness.noise(seeds, shape, stream), never by torch.randn, and keep no state"
BATCH_ADVICE = "take no statistics over the batch, and every image's noise from its own seed (lactok.randomness.noise)"

RULES: dict[str, Rule] = {}  # by title


def rule(title: str) -> Callable[[Rule], Rule]:
    """Add the decorated function to `RULES` under a title."""

    def add(function: Rule) -> Rule:
        RULES[title] = function
        return function

    return add


@rule("registered")
def _registered(trial: Trial) -> str:
    """The name is registered once and can be written on a command line."""
    base = trial.entry.spec.name
    holders = [p.dist.name if p.dist else p.value for p in entry_points(group="lactok.tokenizers", name=base)]
    adapters = registry.TOKENIZERS
    packages = [f"package {p}" for p in adapters.packages() if base in places(p, adapters.decorator)]
    holders = packages + holders
    if len(holders) > 1:
        raise Broken(f"{' and '.join(holders)} have the name {base!r}, and only one of them is seen; rename yours")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", base):
        raise Broken(f"{base!r} cannot be written on a command line or as a folder; use letters, digits and . _ + -")
    return f"as {base}" + (f", from {holders[0]}" if holders else "")


@rule("information")
def _information(trial: Trial) -> str:
    """The fields of `TokenizerSpec` are complete and agree with each other."""
    spec = trial.entry.spec
    if not spec.license.strip() or not all(a.license.strip() for a in spec.assets):
        raise Broken("no licence; write `license` of TokenizerSpec and of each Asset, an SPDX name where there is one")
    chosen = (("fit", spec.fit, Fit), ("resample", spec.resample, Resample), ("kind", spec.kind, Kind))
    for label, value, kinds in chosen:
        allowed = get_args(kinds)
        if value not in allowed:
            raise Broken(f"{label}={value!r}; write one of {', '.join(allowed)}")
    if (spec.tokens is None) != (spec.codebook_size is None):
        raise Broken("`tokens` and `codebook_size` give the bits together; write both, or None for a row without ids")
    if spec.kind == "continuous" and spec.tokens is not None:
        raise Broken("kind='continuous' is for rows without ids; write `tokens` and `codebook_size` None, or no `kind`")
    numbers = {k: getattr(spec, k) for k in ("tokens", "codebook_size", "input_size", "output_size", "version")}
    for label, number in numbers.items():
        if number is not None and (not isinstance(number, int) or number < 1):
            raise Broken(f"{label}={number!r}; write a whole number, 1 or more")
    if spec.codebook_size is not None and spec.codebook_size > 2**63:
        raise Broken("codebook_size is above 2^63, more codes than int64 tells apart; make several ids of each")
    if spec.levels and (sum(spec.levels) != spec.tokens or not all(type(n) is int and n > 0 for n in spec.levels)):
        raise Broken(f"levels={spec.levels}; write how many ids each level has, their sum is tokens={spec.tokens}")
    if spec.tokens is not None and (spec.input_size is None or spec.output_size is None):
        raise Broken("a tokenizer with ids needs its `input_size` and `output_size` in pixels")
    for label, option in spec.options.items():
        try:
            held = option.parse(label, str(option.default)) == option.default
        except UserError as error:
            raise Broken(
                f"its own default is refused: {error}; widen the option's bounds or change the default"
            ) from None
        if not held:
            raise Broken(f"option {label}: the default {option.default!r} is not read back from {option.default!s}")
    # the spec as its author wrote it: in the registered one the option's default has taken the place of `tokens`
    registered = registry.TOKENIZERS.registered.get(spec.name)  # None for a class of a file that registers nothing
    written = registered.spec if registered is not None else getattr(trial.entry.factory, "spec", spec)
    if written.tokens != spec.tokens:
        raise Broken(f"tokens={written.tokens}, but the option `tokens` has the default {spec.tokens}; make them equal")
    weights = f"assets: {', '.join(a.name for a in spec.assets)}" if spec.assets else "no weights"
    return f"{spec.family}, {spec.license}, {weights}"


@rule("structure")
def _structure(trial: Trial) -> str:
    """The network can be built without weights, and its class has the methods that it needs."""
    tokenizer = lactok.build(trial.name, "meta")
    kind = type(tokenizer)
    base = Tokenizer if trial.has_ids else Reconstructor  # a tokenizer without ids needs `reconstruct` alone
    if not isinstance(tokenizer, base):
        raise Broken(f"registers {kind.__name__}, which is no lactok.{base.__name__}; derive the class from it")
    if trial.has_ids and (kind._encode is Tokenizer._encode or kind._decode is Tokenizer._decode):
        raise Broken(f"`tokens` is given, but {kind.__name__} lacks `_encode` or `_decode`; implement both")
    if not trial.has_ids and not implements_reconstruct(kind):
        raise Broken(f"`tokens` is None, but {kind.__name__} has no `reconstruct`; implement it, or give `tokens`")
    return f"built without weights: {sum(p.numel() for p in tokenizer.parameters()) / 1e6:.2f} M parameters"


@rule("loading")
def _loading(trial: Trial) -> str:
    """The tokenizer loads, and its spec is the registered one."""
    given, expected = trial.tokenizer.spec, registry.tokenizer_spec(trial.name)
    if given != expected:
        differing = [f for f in expected.__dataclass_fields__ if getattr(given, f, None) != getattr(expected, f)]
        raise Broken(
            f"its spec is not the registered one in {', '.join(differing)}; pass the `spec` that the "
            "constructor gets to super().__init__ unchanged"
        )
    return f"{expected.name} on {trial.tokenizer.device}"


@rule("shape of ids")
def _shape_of_ids(trial: Trial) -> str:
    """The ids are (B, tokens)."""
    shape, expected = tuple(trial.ids.shape), (len(trial.images), trial.spec.tokens)
    if shape != expected:
        raise Broken(
            f"encode gives {shape}, the spec promises (B, tokens) = {expected}; flatten the ids to one row an "
            "image, or correct `tokens`"
        )
    return f"{shape}"


@rule("dtype of ids")
def _dtype_of_ids(trial: Trial) -> str:
    """The ids are int64."""
    if trial.ids.dtype != torch.int64:
        raise Broken(f"{_dtype_name(trial.ids.dtype)} instead of int64; end `_encode` with .long()")
    return "int64"


@rule("codebook")
def _codebook(trial: Trial) -> str:
    """The ids are 0 to codebook_size - 1."""
    low, high, size = int(trial.ids.min()), int(trial.ids.max()), trial.spec.codebook_size or 0
    if low < 0 or high >= size:
        raise Broken(f"ids from {low} to {high}, but codebook_size={size} allows 0 to {size - 1}; correct either")
    return f"ids from {low} to {high} of 0 to {size - 1}"


@rule("wrong input")
def _wrong_input(trial: Trial) -> str:
    """`encode` raises ValueError for images of another shape."""
    trial.needs_ids()
    if trial.spec.input_size is None:
        raise NotTried("the spec has no `input_size`, see above")
    tokenizer, narrow = trial.tokenizer, trial.images[..., :-1]
    try:
        tokenizer.encode(narrow)
    except ValueError:
        return "encode refuses images of another shape"
    except Exception as error:
        raise Broken(
            f"encode meets {tuple(narrow.shape)} with {type(error).__name__} instead of ValueError; implement "
            "`_encode` and leave `encode`, which checks, as it is"
        ) from error
    raise Broken(
        f"encode takes {tuple(narrow.shape)} without a word; implement `_encode` and leave `encode`, which "
        "checks, as it is"
    )


@rule("input left alone")
def _input_left_alone(trial: Trial) -> str:
    """Neither `_encode` nor `_decode` changes the tensor that it is given."""
    if trial.has_ids and not trial.images_unchanged:
        raise Broken("encode changes the caller's images; replace x.mul_(2).sub_(1) and its like by 2 * x - 1")
    if not torch.equal(trial.decoder_input, trial.output_source):
        raise Broken(f"{trial.method} changes what it is given; work on a copy")
    return "images and ids are as they were"


@rule("shape of the output")
def _shape_of_the_output(trial: Trial) -> str:
    """The output is (B, 3, output_size, output_size)."""
    side = trial.spec.output_size or trial.images.shape[-1]
    shape, expected = tuple(trial.output.shape), (len(trial.images), 3, side, side)
    if shape != expected:
        raise Broken(f"{trial.method} gives {shape}, the spec promises {expected}; correct it, or `output_size`")
    return f"{shape}"


@rule("dtype of the output")
def _dtype_of_the_output(trial: Trial) -> str:
    """The output is float32."""
    if trial.output.dtype != torch.float32:
        raise Broken(f"{_dtype_name(trial.output.dtype)} instead of float32; end {trial.method} with .float()")
    if not trial.unclamped_output.is_floating_point():
        raise Broken(f"`_decode` gives {_dtype_name(trial.unclamped_output.dtype)}; return floats in [0, 1], unrounded")
    return "float32"


@rule("range of the output")
def _range_of_the_output(trial: Trial) -> str:
    """The output is finite and scaled to [0, 1], but for some overshoot before the clamp."""
    raw = trial.unclamped_output.float()
    if not raw.isfinite().all():
        raise Broken(f"{int((~raw.isfinite()).sum())} values of {raw.numel()} are NaN or infinite")
    if trial.random:
        return "finite; of random weights no range is asked"
    low, high = float(raw.min()), float(raw.max())
    below, above = float((raw < -0.1).float().mean()), float((raw > 1.1).float().mean())
    found = f"{trial.method} gives {low:.3g} to {high:.3g}"
    if high - low < MIN_RANGE:
        raise Broken(f"{found} for photographs, not [0, 1]; is it scaled down twice, or without its weights?")
    if below + above > MAX_SHARE_OUTSIDE:
        if high > 8:
            raise Broken(f"{found}, the scale of 0..255 instead of [0, 1]; return x / 255")
        beyond = float((raw.abs() > 1.25).float().mean())
        if beyond < 0.02 and above < below:
            raise Broken(f"{found}, the scale of [-1, 1] instead of [0, 1]; return (x + 1) / 2")
        raise Broken(f"{found} instead of [0, 1]; undo the normalisation by mean and deviation: x * std + mean")
    if not trial.has_ids and (low < 0 or high > 1):
        raise Broken(f"{found}; nothing clamps a row without ids, end reconstruct with .clamp(0, 1)")
    clamp = " before the clamp" if trial.has_ids else ""
    return f"{low:.3f} to {high:.3f}{clamp}{trial.psnr()}"


@rule("same ids twice")
def _same_ids_twice(trial: Trial) -> str:
    """`encode` gives the same ids in two calls with the same seeds."""
    ids = trial.ids
    again = trial.tokenizer.encode_unchecked(trial.images.clone(), trial.seeds).cpu()
    if not torch.equal(again, ids):
        differing = int((again != ids).sum())
        raise Broken(f"{differing} of {again.numel()} ids differ in a second call with the same seeds; {NOISE_ADVICE}")
    unseeded = trial.tokenizer.encode_unchecked(trial.images.clone())
    if unseeded.shape != ids.shape:
        raise Broken(f"encode without seeds gives {tuple(unseeded.shape)} instead of {tuple(ids.shape)}")
    return "equal with equal seeds; without seeds it runs"


@rule("same pixels twice")
def _same_pixels_twice(trial: Trial) -> str:
    """The output is the same in two calls with the same seeds, but for rounding on a GPU."""
    worst = float((trial.output_again(slice(None)) - trial.complete_output()).abs().max())
    tolerance = 0 if trial.tokenizer.device.type == "cpu" else PIXEL_TOLERANCE
    if worst > tolerance:
        raise Broken(f"pixels differ by {worst:.2g} in a second call with the same seeds; {NOISE_ADVICE}")
    trial.output_again(slice(None), seeded=False)
    return "equal with equal seeds; without seeds it runs"


@rule("neighbours: ids")
def _neighbours_ids(trial: Trial) -> str:
    """The ids of an image are the same alone and in a batch, but for near ties."""
    ids, differing = trial.ids, 0
    for i in range(len(trial.images)):
        alone = trial.tokenizer.encode_unchecked(trial.images[i : i + 1].clone(), trial.seeds[i : i + 1])
        if alone.shape != ids[i : i + 1].shape:
            raise Broken(f"one image alone gives ids {tuple(alone.shape)} instead of {tuple(ids[i : i + 1].shape)}")
        differing += trial.count_differing(alone, ids[i : i + 1], i, f"alone and in a batch of 3: {BATCH_ADVICE}")
    near_ties = f" but for {differing} near ties" if differing else ""
    return f"equal alone and in a batch of {len(trial.images)}{near_ties}"


@rule("neighbours: pixels")
def _neighbours_pixels(trial: Trial) -> str:
    """The output of an image is the same alone and in a batch, but for rounding."""
    together, worst = trial.complete_output(), 0.0
    for i in range(len(trial.images)):
        alone = trial.output_again(slice(i, i + 1))
        worst = max(worst, float((alone - together[i : i + 1]).abs().max()))
    if worst > PIXEL_TOLERANCE:
        raise Broken(
            f"the output of an image alone and in a batch of 3 differs by {worst:.2g}, more than "
            f"{PIXEL_TOLERANCE:g}; {BATCH_ADVICE}"
        )
    return f"within {worst:.1g} alone and in a batch of {len(trial.images)}"


@rule("bits")
def _bits(trial: Trial) -> str:
    """`reconstruct` gives an image's bits: tokens * log2(codebook_size), or what the file took without ids."""
    if trial.has_ids and trial.ids.dtype != torch.int64:
        raise NotTried("the dtype of the ids is wrong, see above")
    if trial.has_ids and trial.ids.shape[1:] != (trial.spec.tokens,):
        raise NotTried("the shape of the ids is wrong, see above")
    trial.complete_output()  # raises NotTried where decoding fails: then there is nothing to reconstruct
    image, seeds = trial.images[:1], trial.seeds[:1]
    out, bits = trial.reconstruct(image.clone(), seeds)
    if tuple(bits.shape) != (1,) or bits.dtype != torch.float64:
        raise Broken(f"reconstruct gives bits {tuple(bits.shape)} {_dtype_name(bits.dtype)}; return (B,) float64")
    value = float(bits[0])
    if not trial.has_ids:
        if not (math.isfinite(value) and value > 0):
            raise Broken(f"reconstruct gives {value} bits; return what each image took, more than 0")
        return f"{value:.0f} for the first photograph"
    spec = trial.spec
    expected = (spec.tokens or 0) * math.log2(spec.codebook_size or 1)
    if spec.bits is None or not math.isclose(spec.bits, expected) or not math.isclose(value, expected):
        raise Broken(
            f"spec says {spec.bits}, reconstruct {value}, and tokens * log2(codebook_size) is {expected:.1f}; "
            "leave both to lactok"
        )
    plain = trial.tokenizer.decode(trial.tokenizer.encode(image.clone(), seeds), seeds)
    if out.shape != plain.shape or float((out - plain).abs().max()) > PIXEL_TOLERANCE:
        raise Broken("reconstruct gives other pixels than decode(encode(images)); leave it to lactok")
    return f"{expected:.1f} = {spec.tokens} * log2({spec.codebook_size})"


@rule("bfloat16")
def _bfloat16(trial: Trial) -> str:
    """The network runs under autocast to bfloat16, as `--dtype bfloat16` has it, and its output keeps its dtype."""
    tokenizer, image, seeds = trial.tokenizer, trial.images[:1].clone(), trial.seeds[:1]
    advice = "under autocast layers give bfloat16: meet it with .float() or .to(x.dtype)"
    tokenizer.dtype = torch.bfloat16
    try:
        out = trial.output_again(slice(0, 1))
        ids = tokenizer.encode_unchecked(image, seeds) if trial.has_ids else None
    except NotTried:
        raise
    except Exception as error:
        raise Broken(
            f"{type(error).__name__}: {one_line(error)}{location(error, trial.source_file)}; {advice}"
        ) from error
    finally:
        tokenizer.dtype = torch.float32
    if not out.isfinite().all() or out.dtype != torch.float32 or (ids is not None and ids.dtype != trial.ids.dtype):
        raise Broken(f"other dtypes or NaN come out than in float32; {advice}")
    return "runs under autocast"


@rule("prefix")
def _prefix(trial: Trial) -> str:
    """`NAME@tokens=k` gives the first k ids and decodes them; the last rule, because it loads another network."""
    if not trial.has_ids or "tokens" not in trial.spec.options:
        raise Inapplicable
    name, k = _shorter(trial)
    expected, side = trial.ids, tuple(trial.output.shape)
    trial.release()
    shorter = trial.load(name)
    ids = shorter.encode_unchecked(trial.images.clone(), trial.seeds).cpu()
    if tuple(ids.shape) != (len(expected), k):
        raise Broken(
            f"{name} gives ids {tuple(ids.shape)} instead of {(len(expected), k)}; return "
            "ids[:, : self.spec.tokens] from `_encode`"
        )
    for i in range(len(ids)):
        trial.count_differing(ids[i], expected[i, :k], i, f"{name} must give the first {k} ids of the full length")
    out = shorter.decode(ids.long(), trial.seeds)
    if tuple(out.shape) != side or not out.isfinite().all():
        raise Broken(
            f"{name} decodes its ids to {tuple(out.shape)}, NaN perhaps, instead of {side}; `_decode` must "
            "take (B, k) ids"
        )
    return f"{name}: the first {k} ids, and they decode"


def _shorter(trial: Trial) -> tuple[str, int]:
    """Return the tokenizer's name with about half of its tokens, and their number."""
    spec = trial.spec
    option, full = spec.options["tokens"], spec.tokens or 0
    allowed = [int(c) for c in option.choices if int(c) < full]
    if not allowed:
        allowed = [max(int(option.low or 1), full // 2)]
    k = min(allowed, key=lambda c: abs(c - full // 2))
    if k >= full:
        raise NotTried(f"no shorter length than {full} is allowed")
    return spec.named(tokens=k), k


def _dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name without the prefix "torch."."""
    return str(dtype).removeprefix("torch.")
