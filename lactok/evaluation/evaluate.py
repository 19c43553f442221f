"""Measuring reconstructions: `lactok.evaluate`, and the functions that the commands share with it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok import registry, weights
from lactok.errors import MissingFile, UserError, WeightsNotFound, WrongValue, first_few, one_line
from lactok.evaluation.config import Run, Settings
from lactok.evaluation.datasets import Dataset, limited, named_by_content, samples_under
from lactok.evaluation.measuring import evaluate_source
from lactok.evaluation.metric_networks import with_networks
from lactok.extras import extras_named
from lactok.files import is_folder
from lactok.fitting import refusal
from lactok.metrics.registry import assets
from lactok.outside_text import shown

if TYPE_CHECKING:
    from lactok.evaluation.folder_source import FolderSource
    from lactok.evaluation.protocol import Protocol
    from lactok.evaluation.results import ReconResult
    from lactok.evaluation.sources import Source
    from lactok.tokenizer import Reconstructor

logger = logging.getLogger(__name__)


@extras_named(("recon",), "lactok.evaluate")
def evaluate(
    tokenizer: str | os.PathLike[str] | Reconstructor,
    *,
    references: str | os.PathLike[str] | None = None,
    bits: float | None = None,
    name: str | None = None,
    **settings: Any,
) -> ReconResult:
    """Measure how well a tokenizer reconstructs photographs, as `python -m benchmarks.recon` does for several.

    Args:
        tokenizer: a name, which may carry options after `@`; FILE.py:CLASS; a tokenizer that is loaded already, which
            computes on the device and in the dtype that it was loaded with; or a folder of somebody's
            reconstructions, as a path.
        references: the folder of photographs that a folder of reconstructions is compared with.
        bits: the number of bits for each image of a folder of reconstructions, where it is known.
        name: the name of a folder of reconstructions in tables and results, instead of the folder's own.
        settings: the command's options by the same names, see `lactok.evaluation.config.Settings`: dataset, protocol,
            resolution, metrics, limit, pictures, out, device, dtype, batch_size, workers, threads, part, engine,
            ray_address, ray_resources, seed, weights, fast.

    Returns:
        The stored result: `result["psnr"].value` and `.ci95` are a metric's mean and 95 % interval, `result.records`
        is a pandas DataFrame with a row for each image, `result.folder` is where it lies. What is already in the store
        of `out` is not computed again.

    Raises:
        WrongValue, UnknownName, MissingFile: an argument is wrong; the message names it.
        WeightsNotFound: weights of the tokenizer or of a metric cannot be had.
        DiskError: `out` is full or cannot be written to.
        MissingPackage: a package of the extra `recon` is not installed.
        UserError: nothing could be measured, or other parts still have shards to do.

    >>> import tempfile, lactok
    >>> result = lactok.evaluate("resize-8", metrics="psnr", limit=2, out=tempfile.mkdtemp())
    >>> result["psnr"].n, result.records.columns.tolist()
    (2, ['id', 'caption', 'sha256', 'bits', 'psnr'])
    """
    try:
        chosen = Settings(**settings)
    except TypeError:
        unknown = sorted(settings.keys() - Settings.__dataclass_fields__.keys())
        raise TypeError(f"lactok.evaluate has no argument {', '.join(unknown)}") from None
    chosen.check()
    if references is not None and chosen.dataset != Settings.dataset:
        raise WrongValue("`dataset`: the photographs are those of `references`; leave one of them out")
    chosen.check_names()
    check_row_name(name)
    chosen.use_machine()
    execution = chosen.execution()
    source, run = _source(tokenizer, chosen, chosen.run(), references, bits, name)
    if isinstance(source, Path):
        assert references is not None, "`_source` looks for it"
        source, data = reconstructions(existing_folder(references, "references"), source, bits, chosen, name)
    else:
        data = chosen.data()
    run = with_networks(run, chosen.metrics)
    try:
        result = evaluate_source(source, data, run, execution)
    finally:
        if execution.cluster is not None:
            from lactok.evaluation import ray_engine

            ray_engine.end()
    if result is None:
        raise UserError("other parts still have shards to do; the last one to end gives the result")
    result.records  # noqa: B018, read now and remembered, since the next tokenizer of this name overwrites the folder
    return result


def _source(
    given: str | os.PathLike[str] | Reconstructor,
    settings: Settings,
    run: Run,
    references: str | os.PathLike[str] | None,
    bits: float | None,
    name: str | None,
) -> tuple[Source | Path, Run]:
    """Return the source that the argument `tokenizer` of `evaluate` means, or a folder's path, and the run.

    A loaded tokenizer's device and dtype take the place of the run's.

    Raises:
        WrongValue, MissingFile: an argument is wrong, or does not go with the others.
    """
    from lactok.evaluation.sources import ObjectSource, TokenizerSource
    from lactok.tokenizer import Reconstructor

    if not isinstance(given, str | os.PathLike | Reconstructor):
        raise WrongValue(f"`tokenizer` {type(given).__name__}: give a name, a loaded tokenizer, or a folder as a path")
    if not isinstance(given, Reconstructor) and _is_folder(given, references):
        path = existing_folder(given, "tokenizer")
        if references is None:
            raise WrongValue("`references`: name the folder of photographs that these are reconstructions of")
        return path, run
    for argument, value in (("references", references), ("bits", bits), ("name", name)):
        if value is not None:
            raise WrongValue(f"`{argument}` is of a folder of reconstructions, not of a tokenizer; leave it out")
    if not isinstance(given, Reconstructor):
        named = run.protocol.tokenizer_name(os.fspath(given))
        check_fit(named, run.protocol)
        return TokenizerSource(named), run
    if (settings.workers or 1) > 1:
        raise WrongValue(f"`workers` {settings.workers}: a loaded tokenizer computes in this process; use 1")
    if settings.engine != "local":
        raise WrongValue(f"`engine` {settings.engine}: a loaded tokenizer computes in this process; give its name")
    why = refusal(given.spec, run.protocol.prepare)
    if why:
        raise WrongValue(why)
    for option, value in run.protocol.options:
        if given.spec.values.get(option, value) != value:
            logger.warning("warning: %s is measured as it is loaded, not with %s=%g", given.spec.name, option, value)
    device, dtype = str(given.device), str(given.dtype).removeprefix("torch.")
    for argument, value in (("device", device), ("dtype", dtype)):
        asked = getattr(settings, argument)
        if asked not in (value, value.partition(":")[0], getattr(Settings, argument)):
            raise WrongValue(f"`{argument}` {asked}: the tokenizer is loaded with {value}; load it with {asked}")
    return ObjectSource(given), replace(run, device=device, dtype=dtype)


def check_fit(name: str, protocol: Protocol) -> None:
    """Raise WrongValue, which says what to do, if a tokenizer cannot be measured under a protocol."""
    why = refusal(registry.tokenizer_spec(name), protocol.prepare)
    if why:
        raise WrongValue(why)


def _is_folder(given: str | os.PathLike[str], references: object) -> bool:
    """Return whether a folder of reconstructions is meant: by a path, a slash, or a folder's name with `references`."""
    text = os.fspath(given)
    if ".py:" in text or text.endswith(".py"):
        return False
    return isinstance(given, os.PathLike) or os.sep in text or (references is not None and is_folder(Path(text)))


def existing_folder(name: str | os.PathLike[str], argument: str = "images", takes: str = "a folder") -> Path:
    """Return a folder's path.

    Args:
        name: the path.
        argument: the argument that it was given for, for the message.
        takes: what the argument takes, for the message.

    Raises:
        MissingFile: it is not there.
        WrongValue: it is a file, or no path at all.
    """
    path = Path(name)
    try:
        if path.is_dir():
            return path
        is_file = path.exists()
    except (OSError, ValueError) as error:  # longer than any name may be
        raise WrongValue(f"`{argument}`: no folder can be called {str(name)[:60]!a}") from error
    if is_file:
        raise WrongValue(f"{shown(name, 200)} is a file; `{argument}` takes {takes}")
    raise MissingFile(f"`{argument}`: no such folder {shown(name, 200)}")


def check_row_name(name: str | None) -> None:
    """Raise WrongValue unless `name` is None or can be the name of a folder of reconstructions in tables and results.

    A tokenizer's name cannot, since its results would be taken for the tokenizer's.
    """
    if name is None:
        return
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,63}", name, re.ASCII):
        raise WrongValue(f"`name` {one_line(name, 60)!r}: up to 64 letters, digits, _ . + and -, no such sign first")
    if name in registry.TOKENIZERS.own() or name in registry.list_tokenizers():
        raise WrongValue(f"`name` {name} is a tokenizer's; choose another one")


def reconstructions(
    references: Path, folder_of_images: Path, bits: float | None, settings: Settings, name: str | None = None
) -> tuple[FolderSource, Dataset]:
    """Return a folder of somebody's reconstructions as a source, and the photographs that it is measured on.

    Images are matched before the photographs are limited, since one of the others may have a better claim to a name. A
    line in the log names images of another shape than their photographs.

    Raises:
        WrongValue: the images match no photograph, or several.
    """
    from lactok.evaluation.folder_source import FolderSource

    photographs = samples_under(references)
    source = FolderSource(folder_of_images, [sample.id for sample in photographs], bits, name)
    data = named_by_content(references.resolve().name, limited(photographs, settings.limit))
    source.warn_of_shapes(data.samples, settings.run().protocol.prepare.upright)
    return source, data


def resolve_sources(
    names: Sequence[str], fetch: bool = True, protocol: Protocol | None = None
) -> tuple[list[Callable[[], Source]], dict[str, str], dict[str, str]]:
    """Sort tokenizers by whether they can be evaluated; weights are fetched for that.

    Args:
        names: the tokenizers.
        fetch: with False, weights that are not on this machine count as missing, unless they belong to a network that
            metrics need too and that is fetched anyway.
        protocol: the protocol that they are measured under, which may set options of them. A tokenizer that it does
            not fit counts as missing.

    Returns:
        Functions that make the sources of those that can be evaluated; the names of those whose weights are missing,
        with the reason; the names of those that are broken, with the reason.
    """
    from lactok.evaluation.sources import TokenizerSource

    of_metrics = {asset for needed in assets().values() for asset in needed}
    sources: list[Callable[[], Source]] = []
    missing: dict[str, str] = {}
    broken: dict[str, str] = {}
    not_users: list[str] = []
    for given in names:
        name = given
        try:
            if protocol is not None:
                name = protocol.tokenizer_name(given)
                why = refusal(registry.tokenizer_spec(name), protocol.prepare)
                if why:
                    missing[name] = why
                    continue
            needed = registry.tokenizer_spec(name).assets
            elsewhere = [a for a in needed if a.sources and a not in of_metrics and weights.locate(a) is None]
            if elsewhere and not fetch:
                size = sum(a.size for a in elsewhere) / 1e9
                raise WeightsNotFound(f"its weights ({size:.1f} GB) are not on this machine; name it to fetch them")
            found = registry.resolve_assets(name).values()
            if found and not any(asset.source.startswith("user:") for asset in found):
                not_users.append(name)
            sources.append(partial(TokenizerSource, name))
        except WeightsNotFound as error:
            missing[name] = str(error)
        except UserError as error:  # weights of another network, or a broken plug-in: the other tokenizers still run
            broken[name] = str(error)
    if not_users and weights.user_folders():
        logger.info("not among the user's own weights, so taken from elsewhere: %s", first_few(not_users))
    return sources, missing, broken
