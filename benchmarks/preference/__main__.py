"""`python -m benchmarks.preference`: how well people would like pictures made from captions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, command, given, refuse_beside
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import RUN, add_options

if TYPE_CHECKING:
    from benchmarks.preference.scoring import Judge
    from lactok.evaluation.results import PreferenceResult


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.preference",
        description="Score generated pictures with ImageReward, MPS, HPSv2 and others, and their distance to a set of "
        "photographs.",
        examples={
            "pictures in GenEval's layout, by the paper's rewards": "--images PICTURES --device cuda",
            "a flat folder whose captions stand in a file": "--images PICTURES --captions captions.tsv",
            "make the pictures first; FID and KID to COCO too": "--generators sdxl --reference coco --device cuda",
        },
    )
    p.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of pictures: GenEval's layout, or flat with captions.json or --captions",
    )
    p.add_argument("--generators", help="names separated by spaces or commas: make the pictures first")
    p.add_argument(
        "--captions",
        metavar="FILE",
        help=".tsv, .jsonl or .json of captions by file name; coco: of COCO "
        "2017 val in the data folder (default with --generators)",
    )
    p.add_argument("--reference", metavar="DIR", help="photographs for fid and kid: a folder or a data set's name")
    add_options(
        p,
        "metrics",
        *RUN,
        metrics={"help": "default, all, or names separated by commas: rewards, fid, kid"},
        limit={"help": "use this many pictures (captions), a fixed random choice"},
        batch_size={"help": "pictures at a time on a GPU; the CPU takes one by one (default: %(default)s)"},
        seed={"help": "of the pictures that --generators make (default: %(default)s)"},
    )
    p.add_argument("--strict", action="store_true", help="exit with 3 if any reward lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run and what is missing")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if something failed, or lacks its weights and was asked for."""
    own = parser()
    args = own.parse_args(argv)
    refuse_beside("images", ("seed",), given(own, argv), "since pictures that are there are not made anew")
    settings = Settings.of(vars(args) | {"metrics": "default"})
    settings.check()
    if (args.images is None) == (args.generators is None):
        raise WrongValue("name either --images DIR or --generators NAME,...")
    from lactok.evaluation.evaluate import existing_folder
    from lactok.evaluation.measuring import report_unfinished
    from lactok.evaluation.metric_networks import metric_networks

    names = split_names(args.generators, "generators") if args.generators is not None else []
    if names:
        from benchmarks.generation.prompts import check_condition
        from lactok import registry

        for name in names:
            check_condition(registry.generator_spec(name), "text")
    if args.images is not None:
        existing_folder(args.images)
    from lactok.evaluation import datasets

    if args.reference:
        datasets.check_name(args.reference, argument="reference")
    settings.use_machine()
    from benchmarks.preference import scoring, suite
    from lactok.evaluation import protocol

    # the protocol prepares pictures and references for a distance; each reward prepares pictures in its own way
    run = settings.run(protocol.get("square-256", None, ["fid"]))
    chosen = suite.choose(args.metrics, args.reference)
    if args.images is not None:
        rows = [suite.row_of_folder(args.images, args.captions, chosen, args.limit)]
    else:
        rows = suite.rows_of_generators(names, args.captions, args.limit)
    reference = datasets.get(args.reference, argument="reference") if args.reference else None
    if args.dry_run:
        print(suite.plan(chosen, rows))
        return 0
    judges, missing, failed = scoring.available(chosen.rewards)
    if reference is not None:
        run = replace(run, networks=metric_networks(run))
    execution = settings.execution()
    results: list[tuple[str, PreferenceResult]] = []
    if judges or reference:
        results = suite.measure(rows, judges, chosen, reference, run, execution, failed)
    if results:
        show(results, [judge for judge in judges if judge.spec.name not in failed], execution.out)
    return report_unfinished(missing, failed, strict=args.strict or chosen.named or not judges)


def show(results: Sequence[tuple[str, PreferenceResult]], judges: Sequence[Judge], out: Path) -> None:
    """Print the table of results and write it to a file in `out`; print what was left out and where everything is.

    Args:
        results: each after the name of its system.
        judges: the rewards that did not fail.
    """
    from benchmarks.preference.result import markdown
    from lactok.evaluation.datasets import FEW
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.table import lines_by_reason
    from lactok.evaluation.terminal import fitted
    from lactok.files import write_atomically

    text = markdown(results, judges)
    what = [[r.result["pictures"], r.data.dataset.sha256, sorted(r.metrics)] for _, r in results]
    summary = out / f"table__preference__{digest(what)[:8]}.md"
    with disk_errors(summary):
        write_atomically(summary, text.encode("utf-8", "replace"))
    print(f"\n{fitted(markdown(results, judges, times=True))}")
    reference = results[0][1].data.reference  # the same for all
    for line in lines_by_reason(reference.skipped if reference else [], "left out of the reference"):
        print(line)
    for system, result in results:
        dataset = result.data.dataset
        for line in lines_by_reason(dataset.skipped, "left out"):
            print(line)
        if dataset.without_picture:
            print(f"{system}: {dataset.without_picture} captions have no picture")
        if result.n < FEW:
            pictures = "1 picture is" if result.n == 1 else f"{result.n} pictures are"
            print(f"warning: {pictures} few; {FEW} or more give usable intervals", file=sys.stderr)
    print(f"written: {summary} and one folder per row in {out}")


if __name__ == "__main__":
    main()
