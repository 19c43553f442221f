"""`python -m benchmarks.table3`: Table 3 of the paper, GenEval and preference scores of text-to-image generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.table3.systems import GENERATORS
from lactok.command import Parser, as_flags, command
from lactok.errors import MissingFile, at_least, integer
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import RUN, add_options

if TYPE_CHECKING:
    from benchmarks.table3.work import Found
    from lactok.evaluation.config import Execution, Run


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.table3",
        description="Table 3 of the paper: let generators make GenEval's pictures and one of each of COCO's captions, "
        "score both, and print the measured numbers below the published ones. Run again to go on with what was "
        "interrupted.",
    )
    p.add_argument(
        "--generators",
        metavar="NAMES",
        help="names separated by spaces or commas, options after @; FILE.py:CLASS (default: the paper's ten, of which "
        "those without weights are named at the end)",
    )
    p.add_argument("--captions", default="coco", metavar="FILE", help="as of benchmarks.preference (%(default)s)")
    p.add_argument("--samples", type=integer, default=4, help="pictures of each of GenEval's prompts (%(default)s)")
    p.add_argument("--detector", default="mask2former-mmdet", help="of GenEval; the official one is %(default)s")
    p.add_argument("--colours", default="clip-vit-l-14", help="of GenEval; the official one is %(default)s")
    add_options(
        p,
        "metrics",
        *RUN,
        metrics={"help": "rewards: default (the paper's), all, or names separated by commas"},
        limit={"help": "use this many prompts and this many captions, a fixed random choice"},
        dtype={"help": "of the generators and rewards; GenEval's judges compute in float32 (%(default)s)"},
    )
    p.add_argument("--strict", action="store_true", help="exit with 3 if anything lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say how many pictures, hours and bytes it would take")
    p.add_argument(
        "--seconds-per-image",
        action="append",
        default=[],
        metavar="S|NAME=S",
        help="for the hours of --dry-run; without it the times of earlier runs in --out are taken",
    )
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if something failed, or lacks its weights and was asked for."""
    args = parser().parse_args(argv)
    settings = Settings.of(vars(args) | {"metrics": "default"})
    settings.check()
    at_least("samples", args.samples, 1, 10_000)
    named = args.generators is not None
    names = split_names(args.generators, "generators") if named else [system.name for system in GENERATORS]
    from benchmarks.generation.estimate import seconds_of
    from benchmarks.generation.prompts import check_condition
    from lactok import registry

    for name in names:
        check_condition(registry.generator_spec(name), "text")
    given = seconds_of(args.seconds_per_image)
    settings.use_machine()
    from benchmarks.geneval import detectors
    from benchmarks.preference import planning
    from benchmarks.preference import suite as preference
    from lactok.evaluation import protocol

    judges = detectors.find("detector", args.detector), detectors.find("colour", args.colours)
    chosen = preference.choose(args.metrics, None)
    rows, remark = planning.rows_of_plan(names, args.captions, args.limit)
    run, execution = settings.run(protocol.get("square-256", None, ["fid"])), settings.execution()
    from benchmarks.table3 import work

    plan = work.Plan(names, rows, args.samples, judges, chosen)
    if args.dry_run:
        print(work.dry_run(plan, run, execution, given))
        print(as_flags(remark), end="\n" if remark else "")
        return 0
    if remark:
        raise MissingFile(remark.partition(": ")[2])
    found = work.measure(plan, run, execution)
    if found.rows:
        show(found, execution, run)
    from lactok.evaluation.measuring import report_unfinished

    nothing = not found.geneval and not found.preference
    return report_unfinished(found.missing, found.failed, strict=args.strict or named or nothing)


def show(found: Found, execution: Execution, run: Run) -> None:
    """Print the table and write it, without the times, to a file in the folder of results."""
    from benchmarks.table3.table import markdown
    from lactok.errors import disk_errors
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.writing import folder_name
    from lactok.files import write_atomically

    results = [*found.geneval.values(), *found.preference.values()]
    rows = digest(sorted(result.folder.name for result in results))[:8]
    name = folder_name("table3", rows, limit=execution.limit, dtype=run.dtype, seed=run.seed)
    path = execution.out / f"{name}.md"
    with disk_errors(path):
        write_atomically(path, markdown(found).encode("utf-8", "replace"))
    print(f"\n{markdown(found, times=True)}")
    print(f"written: {path}; the paper's tables of all results: python -m reports build --runs {execution.out}")


if __name__ == "__main__":
    main()
