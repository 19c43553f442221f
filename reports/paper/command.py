"""The command `python -m reports paper`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError, WrongValue, check_output_folder, integer
from reports.paper.plan import OUT, RUNS, SCALES, Plan

if TYPE_CHECKING:
    from reports.paper.verdict import Decision

ENGINES = ("local", "ray")
USUAL = Plan()
OF_TINY = ("dataset", "workers", "weights")  # arguments that the full scale, which measures nothing, does not have


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `paper` to a parser."""
    p.add_argument(
        "--scale",
        choices=SCALES,
        default="tiny",
        help="tiny: measure what is missing with the small models; full: plan the cluster run, and show what stored "
        "results there are (default: %(default)s)",
    )
    p.add_argument(
        "--dataset",
        help=f"tiny: the photographs, a folder or what benchmarks.recon takes (default: {USUAL.dataset})",
    )
    p.add_argument("--workers", type=integer, help=f"tiny: processes (default: {USUAL.workers})")
    p.add_argument("--weights", metavar="DIR", help="tiny: folder with weights, looked into before every other source")
    p.add_argument("--engine", choices=ENGINES, help="full: who does the work on the cluster (default: local)")
    p.add_argument(
        "--runs",
        metavar="DIR",
        help="results and the store; what is there is not measured again "
        + "(default: "
        + ", ".join(f"{folder} at {scale} scale" for scale, folder in RUNS.items())
        + ")",
    )
    p.add_argument("--out", default=OUT, metavar="DIR", help="where the report goes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the report and return the exit code: 3 if a model failed."""
    for argument in OF_TINY if args.scale == "full" else ("engine",):
        if getattr(args, argument) is not None:
            raise WrongValue(f"`{argument}` does not go with `scale` {args.scale}; leave it out")
    check_output_folder("out", args.out)
    runs = Path(args.runs if args.runs is not None else RUNS[args.scale])
    if args.scale == "full":
        return full_scale(runs, args.engine or "local", Path(args.out))
    check_output_folder("runs", runs)  # which settings would call `out`
    given = {key: value for key in OF_TINY if (value := getattr(args, key)) is not None}
    plan = replace(USUAL, **given)
    settings = plan.settings(runs)
    settings.check()
    settings.check_names()
    return small_scale(plan, runs, Path(args.out))


def small_scale(plan: Plan, runs: Path, out: Path) -> int:
    """Measure what is missing at the small scale, write the report, and return the exit code.

    Args:
        plan: the sizes and settings.
        runs: the folder of results.
        out: the folder of the report.
    """
    from reports.paper import small, tables, verdict, writing
    from reports.paper.claims import CLAIMS

    known, failed = small.found(plan, runs)
    decisions = verdict.decide(CLAIMS, known)
    writing.write(decisions, tables.build(known), known, out)
    print(f"\n{lines_of(decisions)}\n\n{writing.SCALES['tiny']}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    print(f"written: {out / 'index.md'}; python -m reports --runs {runs} makes the page with every picture")
    return 3 if failed else 0


def lines_of(decisions: Sequence[Decision]) -> str:
    """Return a line for each claim: its verdict, and what is claimed."""
    return "\n".join(f"{d.verdict:20}{d.claim.text}" for d in decisions)


def full_scale(runs: Path, engine: str, out: Path) -> int:
    """Print the plan of the cluster run, write the report of the stored results that there are, and return 0."""
    from lactok.evaluation.results import GenerationResult, Results, load_results
    from reports.paper import full, verdict, writing
    from reports.paper.claims import CLAIMS
    from reports.tables import paper

    results = Results()
    try:
        results = load_results(runs).without(GenerationResult)
    except UserError as error:  # nothing was run yet
        print(f"no results: {error}", file=sys.stderr)
    for line in results.left_out:
        print(line, file=sys.stderr)
    known = full.found(results)
    decisions = verdict.decide(CLAIMS, known)
    wanted = [table for table in paper.build(results) if table.id.startswith(("table", "seconds"))]
    plan = full.markdown(full.jobs(str(runs), engine))
    writing.write(decisions, wanted, known, out, plan)
    print(f"{plan}\n{lines_of(decisions)}\n")
    print(f"written: {out / 'index.md'}, from {len(known.results)} stored results that are comparable with the paper's")
    return 0
