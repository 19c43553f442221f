"""`python -m benchmarks.recon.exchange`: how much the ids carry, shown by decoding the ids of another photograph.

A decoder that ignored its ids and invented a picture would do as well with any ids. So each photograph is scored twice:
against the reconstruction from its own ids, and against the one from the ids of the next photograph of the data set
(the first one's for the last). The noise of the decoder is the photograph's own in both cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.recon import pairs
from lactok.command import command
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    from lactok.evaluation.results import ReconResult

DESCRIPTION = (
    "A decoder that invents would do as well with any ids. Each photograph is also scored against what the tokenizer "
    "makes of the ids of the next one in the data set, the last one's of the first; the noise stays its own."
)


def metric_changes(results: Sequence[ReconResult]) -> list[str]:
    """Return a line per tokenizer that says by how much each metric changes when the ids are exchanged.

    Both rows are of the same images, and a metric of single images is compared image by image.

    Args:
        results: of tokenizers with their own ids and with exchanged ones, in any order; a tokenizer without its
            counterpart gets no line.
    """
    from lactok.evaluation.compare import compare
    from lactok.evaluation.names import EXCHANGED
    from lactok.metrics.registry import sorted_keys

    by_name = {result.label: result for result in results}
    lines = []
    for name, own in by_name.items():
        exchanged = by_name.get(name + EXCHANGED)
        if exchanged is None:
            continue
        found = {line.metric: line.difference.value for line in compare(own, exchanged).lines}
        changes = []
        for key in sorted_keys(list(own.metrics)):
            change = found.get(key)
            changes.append(f"{key} -" if change is None else f"{key} {change:+.3f}")
        lines.append(f"{name}, ids exchanged: {', '.join(changes)}")
    return lines


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed or lacks its weights."""
    args = pairs.parser("exchange", DESCRIPTION).parse_args(argv)
    settings = Settings.of(vars(args))
    names = pairs.checked_names(args.tokenizers, settings, "two finished rows a tokenizer are compared")
    settings.use_machine()
    from lactok.evaluation.measuring import report_unfinished
    from lactok.evaluation.metric_networks import with_networks
    from lactok.evaluation.table import markdown

    run = with_networks(settings.run(), settings.metrics)
    measured = pairs.measure_pairs(names, settings.data(), run, settings)
    outcome = measured.outcome
    if outcome.results:
        lines = "\n".join(metric_changes(outcome.results))
        print(f"\n{measured.heading()}\n\n{markdown(outcome.results)}\n{lines}")
        for line in measured.left_out_lines():
            print(line)
    return report_unfinished(outcome.missing, outcome.failed, strict=True)


if __name__ == "__main__":
    main()
