"""`python -m benchmarks.recon.perturb`: how much reconstructions suffer where some ids are replaced by near codes.

A generator never chooses exactly the ids that an encoder would. Here a share of each image's ids is drawn anew among
the codes nearest to them, and the decoder makes a picture of the result; the rFID of that row is a pFID. Beside the row
of the ids as they are it says how forgiving the decoder is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.recon import pairs
from lactok.command import command
from lactok.errors import WrongValue, decimal, integer, whole
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    from lactok.evaluation.sources import Source

SHARE, NEAREST = 0.5, 100
DESCRIPTION = (
    "A share of each image's ids is drawn anew among the codes nearest to them before it is decoded; the rFID of such "
    "reconstructions is a pFID (Qiu et al. 2025, who average several settings)."
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed or lacks its weights."""
    parser = pairs.parser("perturb", DESCRIPTION)
    parser.add_argument(
        "--share", type=decimal, default=SHARE, help="of the ids that are drawn anew, 0 to 1 (default: %(default)s)"
    )
    parser.add_argument(
        "--nearest",
        type=integer,
        default=NEAREST,
        metavar="N",
        help="codes among which they are (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if not 0 < args.share <= 1:
        raise WrongValue(f"`share` {args.share:g}: more than 0 and at most 1")
    whole("nearest", args.nearest, 2)
    given = vars(args)
    share, nearest = given.pop("share"), given.pop("nearest")
    settings = Settings.of(given)
    names = pairs.checked_names(args.tokenizers, settings, "two finished rows a tokenizer are compared")
    settings.use_machine()
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources, report_unfinished
    from lactok.evaluation.metric_networks import with_networks
    from lactok.evaluation.sources import PerturbedSource, TokenizerSource
    from lactok.evaluation.table import markdown

    run = with_networks(settings.run(), settings.metrics)
    dataset = settings.data()
    names = [run.protocol.tokenizer_name(name) for name in names]
    _, missing, failed = resolve_sources(names, protocol=run.protocol)
    sources: list[Callable[[], Source]] = []
    for name in names:
        if name not in missing | failed:
            sources += [partial(TokenizerSource, name), partial(PerturbedSource, name, share, nearest)]
    outcome = evaluate_sources(sources, dataset, run, settings.execution())
    if outcome.results:
        print(f"\n{dataset.name}: {len(dataset.samples)} images, protocol {run.protocol.name}\n")
        print(markdown(outcome.results))
    return report_unfinished(missing, failed | outcome.failed, strict=True)


if __name__ == "__main__":
    main()
