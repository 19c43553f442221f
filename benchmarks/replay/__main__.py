"""`python -m benchmarks.replay NAME`: one tokenizer's numbers under every protocol, beside the published ones.

The same tokenizer has many published numbers, which differ by how photographs were prepared and outputs scored. This
command shows by how much: the ids of one preparation are computed once and scored under every protocol that shares it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lactok.command import Parser, command
from lactok.errors import WrongValue, unknown
from lactok.evaluation.config import Settings
from lactok.evaluation.options import RUN, add_options

if TYPE_CHECKING:
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.measuring import Outcome
    from lactok.evaluation.protocol import Protocol


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.replay",
        description="Measure one tokenizer under every protocol that fits it, and print one table with the published "
        "numbers beside the measured ones. Its ids are computed once for all protocols that prepare photographs alike.",
        examples={
            "all protocols, on COCO": "titok-s128 --dataset coco --device cuda",
            "two": "titok-s128 --protocols titok-256,square-256",
        },
    )
    p.add_argument("tokenizer", metavar="NAME", help="the tokenizer, options after @, or FILE.py:CLASS")
    p.add_argument(
        "--protocols",
        metavar="NAMES",
        help="protocols separated by spaces or commas (default: all that fit the tokenizer)",
    )
    options = [name for name in RUN if name != "part"]  # the table needs finished rows
    add_options(p, "dataset", "metrics", *options, metrics={"help": "instead of each protocol's own; as of recon"})
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a protocol failed, or if weights are missing."""
    args = parser().parse_args(argv)
    settings = Settings.of(vars(args))
    settings.check()
    from lactok import registry

    registry.TOKENIZERS.check_name(args.tokenizer)
    chosen, unfit = protocols_of(args.tokenizer, args.protocols, settings)
    settings.check_names()
    settings.use_machine()
    from benchmarks.replay.table import write
    from lactok.evaluation.measuring import report_unfinished
    from lactok.evaluation.terminal import fitted

    data = settings.data()
    found = measure(args.tokenizer, chosen, data, settings)
    results = [result for outcome in found.values() for result in outcome.results]
    if results:
        text, path = write(args.tokenizer, found, data, settings, unfit)
        beside = f"{path.with_suffix('.json').name}, one folder per protocol beside them"
        print(f"\n{fitted(text)}\nwritten: {path} and {beside}")
    missing = by_reason({name: why for name, outcome in found.items() for why in outcome.missing.values()})
    failed = by_reason({name: why for name, outcome in found.items() for why in outcome.failed.values()})
    return report_unfinished(missing, failed, strict=True)


def by_reason(unfinished: Mapping[str, str]) -> dict[str, str]:
    """Return protocols with the reason why they were not run, those of one reason in one line.

    >>> by_reason({"a": "no weights", "b": "too small", "c": "no weights"})
    {'a, c': 'no weights', 'b': 'too small'}
    """
    names: dict[str, list[str]] = {}
    for name, why in unfinished.items():
        names.setdefault(why, []).append(name)
    return {", ".join(some): why for why, some in names.items()}


def protocols_of(tokenizer: str, asked: str | None, settings: Settings) -> tuple[list[Protocol], dict[str, str]]:
    """Return the protocols to measure under, those that share a preparation together, and why others do not fit.

    Args:
        tokenizer: the tokenizer's name.
        asked: the names of protocols as the user gave them, None for all.
        settings: the other settings.

    Raises:
        UserError: a protocol or a metric is unknown, or a protocol that was named does not fit the tokenizer.
    """
    from lactok import registry
    from lactok.evaluation import protocol
    from lactok.fitting import refusal

    known = protocol.protocols()
    names = list(known) if asked is None else list(dict.fromkeys(asked.replace(",", " ").split()))
    if not names:
        raise WrongValue("`protocols` is empty; name some, or leave it out for all")
    spec = registry.tokenizer_spec(tokenizer)
    groups: dict[str, list[Protocol]] = {}
    unfit = {}
    for name in names:
        if name not in known:
            raise unknown("protocol", name, known)
        why = refusal(spec, known[name].prepare)
        if why and asked is not None:
            raise WrongValue(f"{name}: {why}")
        if why:
            unfit[name] = why
            continue
        one = protocol.get(name, None, settings.metrics)
        groups.setdefault(one.prepare_hash, []).append(one)
    return [one for group in groups.values() for one in group], unfit


def measure(tokenizer: str, chosen: Sequence[Protocol], data: Dataset, settings: Settings) -> dict[str, Outcome]:
    """Measure the tokenizer under each protocol and return the outcomes by the protocols' names.

    One that cannot be measured, since a network of its metrics is missing or every photograph is too small for it, does
    not keep the others from it. Missing weights are looked for once, and that photographs are few is said once.
    """
    from lactok.errors import DiskError, UserError, WeightsNotFound
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import Outcome, evaluate_sources
    from lactok.evaluation.metric_networks import with_networks

    found: dict[str, Outcome] = {}
    without: dict[str, str] = {}  # names of the tokenizer, with the options of protocols, whose weights are missing
    measured: Outcome | None = None
    for one in chosen:
        name = one.tokenizer_name(tokenizer)
        if name in without:
            found[one.name] = Outcome(missing={name: without[name]})
            continue
        sources, missing, failed = resolve_sources([tokenizer], protocol=one)
        without |= missing
        if not sources:
            found[one.name] = Outcome(missing=missing, failed=failed)
            continue
        # an outcome that is passed on is added to, without another warning that photographs are few
        before = None if measured is None else Outcome()
        try:
            run = with_networks(settings.run(one), settings.metrics)
            outcome = measured = evaluate_sources(sources, data, run, settings.execution(), before)
        except DiskError:
            raise
        except WeightsNotFound as error:
            outcome = Outcome(missing={tokenizer: str(error)})
        except UserError as error:
            outcome = Outcome(failed={tokenizer: str(error)})
        outcome.missing |= missing
        outcome.failed |= failed
        found[one.name] = outcome
    return found


if __name__ == "__main__":
    main()
