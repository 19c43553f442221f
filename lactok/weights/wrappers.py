"""Names as training scripts wrap them: what is taken off so that a file fits its network.

Distributed training puts `module.` before every name, `torch.compile` puts `_orig_mod.` before those of what it
compiled, and scripts store the network under "model" or "state_dict" beside the optimizer and averaged weights ("ema").
`peel` takes such parts off, and only where the result is what the caller asks for: with a network at hand, that every
name and shape is the network's. Nothing is guessed, and what was taken off is said on the log.

Where a file holds raw and averaged weights, the raw ones are taken, unless the official loader of that model takes the
averaged ones: then the asset's `convert` has chosen them before (as LlamaGen's does).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lactok.errors import UserError, first_few, one_line

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

R = TypeVar("R")
Shape = tuple[int, ...]

# put before the names of a network, or of a part of it, by what wraps the module itself
MODULES = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# keys under which scripts store a network; where several hold one, the first is taken
STORED = ("model", "state_dict", "model_state_dict", "online_model", "params", "net", "network")
# the same for moving averages of the weights
AVERAGES = ("ema", "model_ema", "ema_model", "state_dict_ema", "model_state_dict_ema", "ema_state_dict", "params_ema")
# no network here has these as the first part of all its names, as some have "model"
SURE = (*MODULES, "state_dict", "model_state_dict")
WRAPPERS = (*MODULES, *STORED, *AVERAGES)
# what checkpoints hold beside a network
BESIDE = (
    *AVERAGES,
    *("optimizer", "optimizers", "optimizer_states", "optimizer_state_dict", "lr_scheduler", "lr_schedulers"),
    *("scheduler", "scaler", "loops", "callbacks", "hyper_parameters", "rng_state", "n_averaged"),
)
PREFIXES = 24  # different beginnings of names that are tried at most; files of people have one to four


class Unfit(UserError):
    """Weights that are not those of a network, whatever is taken off their names."""


@dataclass(frozen=True)
class Way:
    """One way to take wrappers off.

    Attributes:
        prefix: what is taken off the beginning of names, such as "model.module."; names without it are left out.
        inner: whether what wraps modules is also taken off the middle of names ("encoder._orig_mod.conv.weight").
        averages: whether names under a key of averages, after the prefix, are left out.
    """

    prefix: str = ""
    inner: bool = False
    averages: bool = False

    def __str__(self) -> str:
        parts = [f"without {self.prefix}"] if self.prefix else []
        parts += ["without what wraps single modules"] if self.inner else []
        parts += ["without the averages beside them"] if self.averages else []
        return " and ".join(parts) or "as they are"

    def taken(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Return the tensors that this way leaves, by their new names; None if two would have the same name."""
        out: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            if not name.startswith(self.prefix):
                continue
            parts = name[len(self.prefix) :].split(".")
            if self.averages and parts[0] in AVERAGES:
                continue
            if self.inner:
                parts = [part for part in parts if part not in MODULES]
            short = ".".join(parts)
            if short in out:
                return None
            out[short] = tensor
        return out

    def said(self, names: Iterable[str]) -> str:
        """Return what was taken off and left out, in words: "module. taken off 247 names; left out: 2 under args"."""
        inside: list[list[str]] = []
        left: Counter[str] = Counter()
        for name in names:
            if not name.startswith(self.prefix):
                left[name.partition(".")[0]] += 1
                continue
            parts = name[len(self.prefix) :].split(".")
            if self.averages and parts[0] in AVERAGES:
                left[f"{self.prefix}{parts[0]}"] += 1
            else:
                inside.append(parts)
        words = [f"{self.prefix} taken off {len(inside)} names"] if self.prefix else []
        if self.inner:
            found = Counter(part for parts in inside for part in parts if part in MODULES)
            words += [f"{part}. taken off {count} names" for part, count in found.items()]
        if left:
            words.append("left out: " + first_few([f"{count} under {key}" for key, count in left.items()], 3))
        return "; ".join(words)


@dataclass(frozen=True)
class Misfit:
    """How names and shapes differ from a network's.

    Attributes:
        missing, unexpected, shapes: the first as names; `shapes` in words, "NAME (3,) instead of (32,)".
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of names that differ; 0, so that it counts as false, where all fit."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("wrong shape", self.shapes))
        shown = [(kind, len(names), first_few([one_line(name, 100) for name in names], 3)) for kind, names in kinds]
        return "; ".join(f"{count} {kind} ({names})" for kind, count, names in shown if count)


def misfit(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]) -> Misfit:
    """Compare tensors with the names and shapes of a network.

    Only the counts of batches in batch norms may be missing: old files do not have them, and nothing reads them.
    """
    missing = sorted(k for k in shapes.keys() - tensors.keys() if not k.endswith(".num_batches_tracked"))
    unexpected = sorted(tensors.keys() - shapes.keys())
    wrong = sorted(
        f"{k} {tuple(tensors[k].shape)} instead of {shapes[k]}"
        for k in shapes.keys() & tensors.keys()
        if tuple(tensors[k].shape) != shapes[k]
    )
    return Misfit(tuple(missing), tuple(unexpected), tuple(wrong))


def ways(names: Iterable[str]) -> list[Way]:
    """Return all ways to take wrappers off these names, nothing taken off first, averages last."""
    heads: Counter[tuple[str, ...]] = Counter()
    has_inner = has_averages = False
    for name in names:
        parts = name.split(".")[:-1]
        has_inner = has_inner or any(part in MODULES for part in parts)
        has_averages = has_averages or any(part in AVERAGES for part in parts)
        for i, part in enumerate(parts):
            if part not in WRAPPERS:
                break
            heads[tuple(parts[: i + 1])] += 1
    common = [(), *(head for head, _ in heads.most_common(PREFIXES))]
    found = []
    for inner in (False, True)[: 1 + has_inner]:
        for averages in (False, True)[: 1 + has_averages]:
            found += [(head, Way("".join(f"{part}." for part in head), inner, averages)) for head in common]

    def rank(entry: tuple[tuple[str, ...], Way]) -> tuple[int, bool, bool, int, list[int]]:
        head, way = entry
        of_averages = sum(part in AVERAGES for part in head)
        return of_averages, way.inner, way.averages, len(head), [WRAPPERS.index(part) for part in head]

    return [way for _, way in sorted(found, key=rank)]


def attempts(tensors: Mapping[str, Tensor], whole_first: bool = False) -> Iterator[tuple[Way, dict[str, Tensor]]]:
    """Yield the ways to take wrappers off with what each leaves, where that is anything and not what was there before.

    The first is always the tensors as they are. With `whole_first`, ways that leave no name out come next.
    """
    seen = set()
    found = ways(tensors)
    if whole_first:
        found.sort(key=lambda way: way.prefix != "" or way.averages)
    for way in found:
        taken = way.taken(tensors)
        if taken is None or (way != Way() and not taken):
            continue
        key = frozenset((name, id(tensor)) for name, tensor in taken.items())
        if key not in seen:
            seen.add(key)
            yield way, taken


def peel(
    tensors: Mapping[str, Tensor], use: Callable[[dict[str, Tensor]], R | None], name: str, whole_first: bool = False
) -> R | None:
    """Take wrappers off until `use` takes the result; say on the log what was taken off.

    Args:
        tensors: by their names in a file.
        use: gets tensors and returns what it makes of them, None if they are not what it needs.
        name: what the log calls the weights.
        whole_first: whether to try first to take off what wraps modules, so that `use` has all that the file holds.

    Returns:
        What `use` returned, None if no way suits it.
    """
    for way, taken in attempts(tensors, whole_first):
        result = use(taken)
        if result is not None:
            if way != Way():
                logger.info("weights of %s: %s", name, way.said(tensors))
            return result
    return None


def fitted(tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape], name: str) -> dict[str, Tensor]:
    """Return the tensors under the names of a network, wrappers taken off where they have any.

    Args:
        tensors: by their names in a file.
        shapes: the network's shapes by name.
        name: what messages call the network.

    Raises:
        Unfit: there is no way to take wrappers off after which all names and shapes are the network's. The message
            names the first that are not, in the way that comes nearest.
    """
    found = peel(tensors, lambda taken: None if misfit(taken, shapes) else taken, name)
    if found is not None:
        return found
    tried = [(way, misfit(taken, shapes)) for way, taken in attempts(tensors)]
    nearest, differing = min(tried, key=lambda entry: len(entry[1]))
    said = ""
    if len(tried) > 1:
        said = f" {nearest}; tried {first_few([str(way) for way, _ in tried], 4)};"
    raise Unfit(f"the weights do not fit {name}: {differing}{said or ';'} is it the right file?")


def converted(
    tensors: dict[str, Tensor], convert: Callable[[dict[str, Tensor]], dict[str, Tensor]], name: str
) -> dict[str, Tensor]:
    """Convert a published file's tensors; where the converter does not know their names, take wrappers off first.

    That it does not know them is seen from an error, from nothing that is left, or from names that all stay as they
    were although it changes them once a wrapper is off that all of the network's have. Whether the result fits its
    network is seen when it is loaded.

    Args:
        tensors: as they stand in the file.
        convert: the asset's converter.
        name: what the log calls the weights.

    Raises:
        Exception: whatever the converter raises of the tensors as they are, if it knows no others either.
    """
    error: Exception | None = None
    plain: dict[str, Tensor] = {}
    try:
        plain = convert(tensors)
        if plain and plain.keys() != tensors.keys() and not _all_under(plain, SURE):
            return plain
    except Exception as caught:  # the converter met names or shapes that it does not know
        error = caught

    def use(taken: dict[str, Tensor]) -> dict[str, Tensor] | None:
        if taken.keys() == tensors.keys():
            return None
        try:
            out = convert(taken)
        except Exception:  # these names are not the network's either: the first error is the one to report
            return None
        if plain and (out.keys() == taken.keys() or not _all_under(tensors.keys() - _stored(taken, tensors), BESIDE)):
            return None
        return out or None

    found = peel(tensors, use, name, whole_first=True)  # a converter may choose between raw and averaged weights
    if found is None and error is not None:
        raise error
    return plain if found is None else found


def stored(tensors: dict[str, Tensor], keys: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors under the first of the keys that a file has, as an official loader takes them.

    A file without any of the keys is the network.

    >>> stored({"model.a": 1, "ema.a": 2, "lr": 3}, ("ema", "model"))
    {'a': 2}
    >>> stored({"a": 1}, ("ema", "model"))
    {'a': 1}
    """
    for key in keys:
        inside = {k.removeprefix(f"{key}."): v for k, v in tensors.items() if k.startswith(f"{key}.")}
        if inside:
            return inside
    return tensors


def load_parts(fill: Callable[[dict[str, dict[str, Tensor]]], R], files: dict[str, dict[str, Tensor]]) -> R:
    """Load the tensors of several files, without their wrappers where they do not fit with them.

    An adapter may put a network together from parts, under names of its own, so that the names of the whole are no
    longer those of a file with something put before them.

    Args:
        fill: makes the network of the tensors of all files, by file and name; it checks every name and shape.
        files: the tensors by file and name.

    Raises:
        Unfit: whatever is taken off, the tensors do not fit.
    """
    try:
        return fill(files)
    except Unfit:
        stripped = {name: _bare(tensors, name) for name, tensors in files.items()}
        if all(stripped[name].keys() == files[name].keys() for name in files):
            raise
    return fill(stripped)


def _bare(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Take off the wrappers that all names have."""

    def use(taken: dict[str, Tensor]) -> dict[str, Tensor] | None:
        is_bare = not any(part in MODULES for key in taken for part in key.split(".")[:-1])
        is_whole = _all_under(tensors.keys() - _stored(taken, tensors), BESIDE)
        return taken if is_bare and is_whole and not _all_under(taken, (*WRAPPERS, *BESIDE)) else None

    return peel(tensors, use, name) or dict(tensors)


def _stored(taken: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> set[str]:
    """Return the names that tensors which were taken have in the file."""
    found = {id(tensor) for tensor in taken.values()}
    return {name for name, tensor in tensors.items() if id(tensor) in found}


def _all_under(names: Iterable[str], keys: Sequence[str]) -> bool:
    """Return whether the first part of every name is one of `keys`."""
    return all("." in name and name.partition(".")[0] in keys for name in names)
