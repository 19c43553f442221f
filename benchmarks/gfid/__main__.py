"""`python -m benchmarks.gfid`: FID, Inception Score, precision and recall of class-conditional pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from lactok.command import Parser, command, given, refuse_beside
from lactok.errors import WrongValue, check_output_file, disk_errors, integer, whole
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import RUN, add_options
from lactok.images import Rounding

if TYPE_CHECKING:
    from benchmarks.gfid.pictures import Pictures
    from lactok.evaluation.results import GfidResult


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.gfid",
        description="FID of generated pictures of ImageNet classes to a reference, with Inception Score, precision and "
        "recall; run again to go on with what was interrupted.",
        examples={
            "a generator's 50,000 pictures, as papers do": "--generators titok-l32-gen "
            "--reference VIRTUAL_imagenet256_labeled.npz --device cuda",
            "pictures that you have, to a folder of photographs": "--images PICTURES --reference PHOTOGRAPHS",
        },
    )
    p.add_argument("--generators", metavar="NAMES", help="generators of classes: make the pictures first")
    p.add_argument("--images", metavar="DIR|FILE.npz", help="somebody's pictures: a folder, or arr_0 as ADM's")
    p.add_argument(
        "--reference",
        metavar="R",
        help="a folder of photographs or a data set's name; an .npz file of statistics (mu, sigma) or pictures (arr_0) "
        "or both, as ADM's VIRTUAL_imagenet256_labeled.npz",
    )
    p.add_argument("--samples", type=integer, default=50, help="pictures of each class (default: %(default)s)")
    p.add_argument("--classes", metavar="FILE", help="a class a line, 0 to 999 (default: all 1000)")
    p.add_argument(
        "--rounding",
        choices=get_args(Rounding),
        default="truncate",
        help="how pictures become 8 bits (default: %(default)s, as in ADM's and TiTok's scripts)",
    )
    p.add_argument("--npz", action="store_true", help="also write the pictures to samples.npz, for ADM's evaluator")
    p.add_argument(
        "--save-statistics", type=Path, metavar="FILE.npz", help="write the reference's mu and sigma, to be named later"
    )
    add_options(
        p,
        "metrics",
        "pictures",
        *RUN,
        metrics={"help": "default (fid, inception_score, precision, recall), all (kid too), or some of these"},
        limit={"help": "use N pictures, a fixed random choice"},
        pictures={"help": "of these many pictures PNG files lie in the result's images/ (default: %(default)s)"},
        dtype={"help": "of the generators; Inception computes in float32 (default: %(default)s)"},
        seed={"help": "of the run; a picture's seed is hash(seed, its number) (default: %(default)s)"},
    )
    p.add_argument("--dry-run", action="store_true", help="say what would run, how long, and what is missing")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a generator failed or lacks its weights."""
    own = parser()
    args = own.parse_args(argv)
    named = given(own, argv)
    if (args.images is None) == (args.generators is None):
        raise WrongValue("name either `generators` NAME,... or `images` DIR")
    made = ("samples", "classes", "rounding", "seed", "dtype", "pictures")
    refuse_beside("images", made, named, "since pictures that are there are not made anew")
    settings = Settings.of(vars(args) | {"metrics": "default"})
    settings.check()
    whole("samples", args.samples, 1, 10_000)
    check_output_file("save_statistics", args.save_statistics, ".npz")
    names = split_names(args.generators, "generators") if args.generators is not None else []
    from benchmarks.generation.prompts import check_condition
    from lactok import registry

    specs = [registry.generator_spec(name) for name in names]  # a wrong name is answered before anything is read
    for spec in specs:
        check_condition(spec, "class")
    if args.save_statistics is not None and len({spec.output_size for spec in specs}) > 1:
        raise WrongValue("`save_statistics`: the generators' pictures have several sizes; name generators of one size")
    settings.use_machine()
    from benchmarks.gfid import plan, reference, suite

    keys, is_named = suite.choose(args.metrics)
    classes = suite.classes_of(args.classes, args.samples)
    if args.images is not None:
        suite.check_stored(args.images)
    asked = suite.Asked(reference.read(args.reference), keys, array=args.npz, statistics=args.save_statistics)
    if args.save_statistics is not None and not asked.reference.has_pictures:
        raise WrongValue("`save_statistics`: the reference holds statistics only; name one with pictures")
    run, execution = settings.run(), settings.execution()
    if args.dry_run:
        lines = plan.of_generators(names, classes, args.limit, args.npz, args.rounding, run, execution.out)
        print("\n".join([*lines, plan.of_metrics(keys, asked.reference)]))
        return 0
    from lactok.evaluation.measuring import one_by_one, report_unfinished
    from lactok.evaluation.store import Store

    asked = suite.with_networks(asked, is_named)
    store = Store(execution.out)

    def measured(pictures: Pictures) -> GfidResult | None:
        return suite.measure(pictures, asked, run, execution, store, args.samples)

    def of_generator(name: str) -> GfidResult | None:
        return measured(suite.generated(name, classes, args.rounding, run, args.limit, store))

    results, missing, failed = one_by_one(names, of_generator)
    if args.images is not None:
        results = [measured(suite.stored(args.images, args.limit, store))]
    finished = [result for result in results if result is not None]
    if finished:
        show(finished, execution.out)
    return report_unfinished(missing, failed, strict=True)


def show(results: Sequence[GfidResult], out: Path) -> None:
    """Print the table of results, and write it without times to a file in `out`; print what was left out as well."""
    from benchmarks.gfid.result import markdown
    from lactok.evaluation.datasets import FEW
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.table import lines_by_reason
    from lactok.files import write_atomically

    summary = out / f"table__gfid__{digest(sorted(result.name for result in results))[:8]}.md"
    with disk_errors(summary):
        write_atomically(summary, markdown(results).encode("utf-8", "replace"))
    print(f"\n{markdown(results, times=True)}")
    for result in results:
        for line in lines_by_reason(result.data.dataset.skipped, "left out"):
            print(line)
        if result.n < FEW:
            pictures = "1 picture is" if result.n == 1 else f"{result.n} pictures are"
            print(f"warning: {pictures} few; published numbers are of 50,000", file=sys.stderr)
    for line in lines_by_reason(results[0].data.reference.skipped, "left out of the reference"):
        print(line)
    print(f"written: {summary} and one folder per row in {out}")


if __name__ == "__main__":
    main()
