"""Measure tokenizers twice, with each photograph's own ids and with another's; for `exchange` and `retrieval`."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.command import Parser
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from lactok.evaluation.config import Execution, Run
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.measuring import Outcome
    from lactok.evaluation.sources import ExchangedSource, TokenizerSource
    from lactok.evaluation.store import Store


def parser(name: str, description: str) -> Parser:
    """Return the parser of the arguments that both commands take.

    Args:
        name: the command's module in `benchmarks.recon`.
        description: what its help says about it.
    """
    p = Parser(
        prog=f"python -m benchmarks.recon.{name}",
        description=description,
        examples={
            "a tokenizer on the sample photographs": "--tokenizers titok-s128-tiny",
            "two on a folder of yours": '--tokenizers "titok-s128 llamagen-vq16" --dataset PHOTOGRAPHS --device cuda',
        },
    )
    p.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @")
    add_options(p)
    return p


def checked_names(tokenizers: str, settings: Settings, no_parts: str) -> list[str]:
    """Return the names in `--tokenizers` after checking them, their options and the settings; compute nothing.

    Args:
        tokenizers: the argument as it was given.
        no_parts: why the command cannot be run in parts, for the message.

    Raises:
        UserError: an unknown name, a wrong option or setting, or `part` is set.
    """
    from lactok import registry

    names = split_names(tokenizers)
    for name in names:
        registry.tokenizer_spec(name)
    settings.check()
    if settings.part:
        raise WrongValue(f"`part`: {no_parts}; leave it out")
    settings.check_names()
    return names


def write_entries(
    command: str, entries: Sequence[dict[str, Any]], dataset: Dataset, run: Run, settings: Settings
) -> Path:
    """Write a command's entries, each with the `name` of a tokenizer, as JSON into the folder of results.

    Returns:
        The file; other tokenizers and settings have a file of their own.
    """
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.writing import folder_name, to_json
    from lactok.files import write_atomically

    name = folder_name(
        command,
        dataset.name,
        f"{run.protocol.prepare_hash}-{run.protocol.score_hash}",
        limit=settings.limit,
        dtype=settings.dtype,
        seed=settings.seed,
        more=digest(sorted(entry["name"] for entry in entries))[:8],
    )
    path = Path(settings.out) / f"{name}.json"
    with disk_errors(path):
        write_atomically(path, to_json(entries))
    return path


def partners(dataset: Dataset, left_out: Collection[str] = ()) -> dict[str, Sample]:
    """Return, by a sample's id, the sample whose ids it gets instead: the next one, and the first for the last.

    Args:
        dataset: the samples.
        left_out: the ids of the samples that cannot be read; they are nobody's partner but their own, so that the
            same images are measured with their own ids and with exchanged ones.

    Raises:
        WrongValue: fewer than two samples are left.
    """
    samples = [sample for sample in dataset.samples if sample.id not in left_out]
    if len(samples) < 2:
        what = "one that can be read" if left_out else "one"
        raise WrongValue(f"{dataset.name}: ids are exchanged between images, {what} is not enough")
    following = (*samples[1:], samples[0])
    own = {sample.id: sample for sample in dataset.samples}
    return own | {sample.id: other for sample, other in zip(samples, following, strict=True)}


def unreadable(name: str, dataset: Dataset, run: Run, store: Store) -> set[str]:
    """Return the ids of the samples that a tokenizer's row with its own ids leaves out.

    It is empty where that row is not finished, since the tokenizer failed.

    Args:
        name: the tokenizer.
        dataset: the samples.
        run: the settings that determine the numbers, with the metrics' networks.
        store: where the row's shards are.
    """
    from lactok.evaluation.reconstruction import ReconstructionWork, scores_layout
    from lactok.evaluation.sources import TokenizerSource

    work = ReconstructionWork(TokenizerSource(name), run, store)
    found: set[str] = set()
    for samples in dataset.shards():
        keys = work.keys(samples)
        names = ["index", "errors"]
        if keys is None or not store.has("scores", keys.scores, names, scores_layout(run, samples)):
            return set()
        found |= json.loads(str(store.need("scores", keys.scores, names)["errors"])).keys()
    return found


def exchanged_source(name: str, dataset: Dataset, run: Run, execution: Execution) -> ExchangedSource:
    """Return a tokenizer's source of exchanged ids; its row with its own ids, which says what can be read, comes first.

    Raises:
        WrongValue: the tokenizer has no ids, or fewer than two images can be read.
    """
    from lactok.evaluation.sources import ExchangedSource
    from lactok.evaluation.store import Store

    left_out = unreadable(name, dataset, run, Store(execution.out))
    return ExchangedSource(name, partners(dataset, left_out))


@dataclass(frozen=True)
class Pairs:
    """Tokenizers that were measured with their own ids and with exchanged ones.

    Attributes:
        dataset: the photographs.
        run: the protocol and what else determines the numbers.
        sources: makers of the sources that could run, by the label of their result.
        outcome: the results, and why the others have none.
    """

    dataset: Dataset
    run: Run
    sources: dict[str, Callable[[], TokenizerSource]]
    outcome: Outcome

    def finished(self) -> list[TokenizerSource]:
        """Return the sources that have a result, in the order in which they were asked for."""
        labels = {result.label for result in self.outcome.results}
        return [make() for label, make in self.sources.items() if label in labels]

    def heading(self) -> str:
        """Return a line that names the data set and the protocol, for the top of a command's output."""
        return f"{self.dataset.name}: {len(self.dataset.samples)} images, protocol {self.run.protocol.name}"

    def left_out_lines(self) -> list[str]:
        """Return a few lines that say which images no row has and why, however many there are."""
        from lactok.evaluation.table import lines_by_reason

        skipped = {image.id: image for result in self.outcome.results for image in result.data.dataset.skipped}
        return lines_by_reason(skipped.values(), "left out")


def measure_pairs(names: Sequence[str], dataset: Dataset, run: Run, settings: Settings) -> Pairs:
    """Measure tokenizers with their own ids and with exchanged ones; the outcome says which could not run and why."""
    from lactok import registry
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources
    from lactok.evaluation.names import EXCHANGED
    from lactok.evaluation.sources import TokenizerSource

    names = [run.protocol.tokenizer_name(name) for name in names]
    _, missing, failed = resolve_sources(names, protocol=run.protocol)
    partners(dataset)  # one image is refused before anything is measured
    execution = settings.execution()
    sources: dict[str, Callable[[], TokenizerSource]] = {}
    exchanged: dict[str, Callable[[], TokenizerSource]] = {}  # they need the images that the others could read
    for name in names:
        if name not in missing | failed:
            label = registry.tokenizer_spec(name).name
            sources[label] = partial(TokenizerSource, name)
            exchanged[label + EXCHANGED] = partial(exchanged_source, name, dataset, run, execution)
    outcome = evaluate_sources(list(sources.values()), dataset, run, execution)
    evaluate_sources(list(exchanged.values()), dataset, run, execution, outcome)
    outcome.results.sort(key=lambda result: list(sources).index(result.label.removesuffix(EXCHANGED)))
    outcome.missing, outcome.failed = missing, failed | outcome.failed
    return Pairs(dataset, run, sources | exchanged, outcome)
