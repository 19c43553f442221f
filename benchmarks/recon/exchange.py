"""`python -m benchmarks.recon.exchange`: what ids carry, by decoding pictures from the ids of another photograph.

A decoder that invents would do as well with any ids. Each photograph is also scored against what the tokenizer makes of
the ids of the next one in the data set, the last one's of the first; the noise stays its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.recon import pairs
from lactok.command import command
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    from lactok.evaluation.results import ReconResult


def costs(results: Sequence[ReconResult]) -> list[str]:
    """A line a tokenizer: what its metrics change by the exchange."""
    from lactok.evaluation.sources import EXCHANGED
    from lactok.metrics.registry import sorted_keys

    by_name = {r.label: r.metrics for r in results}
    lines = []
    for name, own in by_name.items():
        if (other := by_name.get(name + EXCHANGED)) is None:
            continue
        changes = []
        for key in sorted_keys(list(own)):
            before, after = own[key].value, other[key].value
            changes.append(f"{key} {after - before:+.3f}" if before is not None and after is not None else f"{key} -")
        lines.append(f"{name}, ids exchanged: {', '.join(changes)}")
    return lines


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = pairs.parser("exchange", (__doc__ or "").split("\n\n")[1]).parse_args(argv)
    settings = Settings.of(vars(args))
    names = pairs.checked_names(args.tokenizers, settings, "two finished rows a tokenizer are compared")
    settings.use_machine()
    from lactok.evaluation.evaluate import said
    from lactok.evaluation.table import markdown

    run = settings.run()
    found = pairs.measured(names, settings.data(), run, settings)
    outcome = found.outcome
    if outcome.results:
        lines = "\n".join(costs(outcome.results))
        print(f"\n{found.head()}\n\n{markdown(outcome.results)}\n{lines}")
    return said(outcome.missing, outcome.failed, strict=True)


if __name__ == "__main__":
    main()
