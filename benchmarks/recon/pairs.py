"""Tokenizers beside themselves with the ids of other photographs: what `exchange` and `retrieval` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lactok.command import Parser
from lactok.errors import WrongValue
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from lactok.evaluation.config import Run
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.evaluate import Outcome
    from lactok.evaluation.sources import TokenizerSource


def parser(name: str, description: str) -> Parser:
    """The arguments of a command over pairs."""
    p = Parser(prog=f"python -m benchmarks.recon.{name}", description=description)
    p.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @")
    add_options(p)
    return p


def checked_names(tokenizers: str, settings: Settings, whole: str) -> list[str]:
    """The tokenizers that an argument names, options checked; nothing is computed.

    Args:
        whole: why the command cannot be run in parts.
    """
    from lactok import registry

    names = split_names(tokenizers)
    for name in names:
        registry.tokenizer_spec(name)
    if settings.part:
        raise WrongValue(f"`part`: {whole}; leave it out")
    settings.check()
    return names


def partners(dataset: Dataset) -> dict[str, Sample]:
    """Sample id -> the next sample, whose ids are taken instead; the first one for the last.

    Raises:
        WrongValue: there is no other one.
    """
    samples = dataset.samples
    if len(samples) < 2:
        raise WrongValue(f"{dataset.name}: ids are exchanged between images, one is not enough")
    return {a.id: b for a, b in zip(samples, (*samples[1:], samples[0]), strict=True)}


@dataclass(frozen=True)
class Pairs:
    """Some tokenizers, each measured with its own ids and with exchanged ones.

    Attributes:
        sources: makers of the sources that could run, by the name that their results bear.
        outcome: what became of them.
    """

    dataset: Dataset
    run: Run
    sources: dict[str, Callable[[], TokenizerSource]]
    outcome: Outcome

    def finished(self) -> list[TokenizerSource]:
        """The sources that have a result, in order."""
        labels = {result.label for result in self.outcome.results}
        return [make() for label, make in self.sources.items() if label in labels]

    def head(self) -> str:
        """What was measured on, for the top of a command's output."""
        return f"{self.dataset.name}: {len(self.dataset.samples)} images, protocol {self.run.protocol.name}"


def measured(names: Sequence[str], dataset: Dataset, run: Run, settings: Settings) -> Pairs:
    """Measure tokenizers with their own ids and with exchanged ones; those that cannot run are named by the outcome."""
    from lactok import registry
    from lactok.evaluation.evaluate import available, evaluate_sources
    from lactok.evaluation.sources import EXCHANGED, ExchangedSource, TokenizerSource

    _, missing, failed = available(names)
    other = partners(dataset)
    sources: dict[str, Callable[[], TokenizerSource]] = {}
    for name in names:
        if name not in missing | failed:
            label = registry.tokenizer_spec(name).name
            sources[label] = partial(TokenizerSource, name)
            sources[label + EXCHANGED] = partial(ExchangedSource, name, other)
    outcome = evaluate_sources(list(sources.values()), dataset, run, settings.execution())
    outcome.missing, outcome.failed = missing, failed | outcome.failed
    return Pairs(dataset, run, sources, outcome)
