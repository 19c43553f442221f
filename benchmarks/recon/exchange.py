"""`python -m benchmarks.recon.exchange`: what ids carry, by decoding pictures from the ids of another photograph.

A decoder that invents would do as well with any ids. Each photograph is also scored against what the tokenizer makes of
the ids of the next one in the data set, the last one's of the first; the noise stays its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.recon import __main__ as recon
from lactok.command import Parser, command
from lactok.errors import UserError

if TYPE_CHECKING:
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.sources import Row


def partners(dataset: Dataset) -> dict[str, Sample]:
    """Sample id -> the sample whose ids are taken instead.

    Raises:
        UserError: there is no other one.
    """
    samples = dataset.samples
    if len(samples) < 2:
        raise UserError(f"{dataset.name}: ids are exchanged between images, one is not enough")
    return {a.id: b for a, b in zip(samples, (*samples[1:], samples[0]), strict=True)}


def paired_rows(
    names: Sequence[str], dataset: Dataset
) -> tuple[list[str], list[Callable[[], Row]], dict[str, str], dict[str, str]]:
    """Those of some tokenizers that can run, makers of two rows for each, the second with exchanged ids; who lacks
    weights and who is broken, with reasons."""
    from lactok.evaluation.sources import ExchangedRow

    own, missing, failed = recon.available(names)
    there = [name for name in names if name not in missing | failed]
    other = partners(dataset)
    rows = [row for make, name in zip(own, there, strict=True) for row in (make, partial(ExchangedRow, name, other))]
    return there, rows, missing, failed


def costs(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a tokenizer: what its metrics lose by the exchange."""
    from lactok.evaluation.protocol import METRICS
    from lactok.evaluation.sources import EXCHANGED

    results = {r["tokenizer"]["name"]: r["metrics"] for r in found}
    lines = []
    for name, own in results.items():
        if (other := results.get(name + EXCHANGED)) is not None:
            changes = [f"{m} {other[m]['value'] - own[m]['value']:+.3f}" for m in METRICS if m in own]
            lines.append(f"{name}, ids exchanged: {', '.join(changes)}")
    return lines


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.recon.exchange", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @")
    recon.run_options(parser)
    args = parser.parse_args(argv)
    from lactok import registry

    names = recon.split_names(args.tokenizers)
    for name in names:
        registry.tokenizer_spec(name)
    if args.part:
        raise UserError("--part: two finished rows a tokenizer are compared; leave it out")
    dataset, run = recon.configure(args)
    from lactok.evaluation.table import markdown

    _, rows, missing, failed = paired_rows(names, dataset)
    found = recon.run_rows(rows, dataset, run, args, failed)

    lines = "\n".join(costs(found))
    print(
        f"\n{dataset.name}: {len(dataset.samples)} images, protocol {run.protocol.name}\n\n{markdown(found)}\n{lines}"
    )
    return recon.exit_code(missing, failed, strict=True)


if __name__ == "__main__":
    main()
