"""Measure tokenizers twice, with each photograph's own ids and with another's; for `exchange` and `retrieval`."""

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
    """Return the parser of the arguments that both commands take.

    Args:
        name: the command's module in `benchmarks.recon`.
        description: what its help says about it.
    """
    p = Parser(prog=f"python -m benchmarks.recon.{name}", description=description)
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
    return names


def partners(dataset: Dataset) -> dict[str, Sample]:
    """Return, by a sample's id, the sample whose ids it gets instead: the next one, and the first for the last.

    Raises:
        WrongValue: the data set has only one sample.
    """
    samples = dataset.samples
    if len(samples) < 2:
        raise WrongValue(f"{dataset.name}: ids are exchanged between images, one is not enough")
    following = (*samples[1:], samples[0])
    return {sample.id: other for sample, other in zip(samples, following, strict=True)}


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


def measure_pairs(names: Sequence[str], dataset: Dataset, run: Run, settings: Settings) -> Pairs:
    """Measure tokenizers with their own ids and with exchanged ones; the outcome says which could not run and why."""
    from lactok import registry
    from lactok.evaluation.evaluate import evaluate_sources, resolve_sources
    from lactok.evaluation.names import EXCHANGED
    from lactok.evaluation.sources import ExchangedSource, TokenizerSource

    _, missing, failed = resolve_sources(names)
    partner_of = partners(dataset)
    sources: dict[str, Callable[[], TokenizerSource]] = {}
    for name in names:
        if name not in missing | failed:
            label = registry.tokenizer_spec(name).name
            sources[label] = partial(TokenizerSource, name)
            sources[label + EXCHANGED] = partial(ExchangedSource, name, partner_of)
    outcome = evaluate_sources(list(sources.values()), dataset, run, settings.execution())
    outcome.missing, outcome.failed = missing, failed | outcome.failed
    return Pairs(dataset, run, sources, outcome)
