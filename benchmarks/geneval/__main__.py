"""`python -m benchmarks.geneval`: do generated images show what their prompts ask for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scenes import EVALUATED
from lactok.command import Parser, as_flags, command, given, refuse_beside
from lactok.errors import UserError, at_least, disk_errors, integer
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import RUN, add_options

if TYPE_CHECKING:
    from lactok.evaluation.results import GenEvalResult

logger = logging.getLogger("lactok.geneval")

OFFICIAL = ("mask2former-mmdet", "clip-vit-l-14")  # detector and colour classifier of the published scores
WITHOUT_DOWNLOAD = ("scenes-tiny", "scenes-tiny")  # the default with `--scenes`


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.geneval",
        description="GenEval: an object detector and a colour classifier judge generated images.",
        examples={
            "36 composed scenes by judges that are shipped, half a minute on a CPU": "--scenes 36 --samples 1",
            "480 of them, some minutes": "--scenes",
            "pictures that you have": "--images PICTURES --device cuda",
            "make the pictures of a generator first": "--generators sdxl --device cuda --dtype float16",
            "let your own small generator draw captions of scenes": "--scenes --generators ./mine.py:Mine --samples 1",
        },
        epilog="A sample that is missing or cannot be read is left out of every mean and named; the other samples of "
        "its prompt count, and a prompt without any is left out. Where a task lost all its prompts, overall is empty "
        "and says so. With --strict that ends with exit code 3; a folder without any readable picture ends with 2.",
    )
    p.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="pictures in GenEval's layout: DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png (or .jpg, .webp, "
        "...)",
    )
    p.add_argument(
        "--generators",
        metavar="NAMES",
        help="generators, separated by spaces or commas, options after "
        "@: make the pictures of GenEval's 553 prompts first",
    )
    p.add_argument(
        "--scenes",
        nargs="?",
        type=integer,
        const=EVALUATED,
        metavar="N",
        help="compose pictures of known "
        "truth for N captions (%(const)s) and judge them by scenes-tiny: needs no download; with --generators, these "
        "draw the captions instead",
    )
    p.add_argument(
        "--samples", type=integer, default=4, help="pictures per prompt (default: %(default)s, as published)"
    )
    p.add_argument(
        "--detector",
        help="mask2former-mmdet (the official one, default), mask2former-hf, scenes-tiny "
        "(default with --scenes, needs no download), or a plug-in's",
    )
    p.add_argument(
        "--colours",
        help="clip-vit-l-14 (the official one, default), scenes-tiny (default with --scenes), or a plug-in's",
    )
    add_options(
        p,
        *RUN,
        limit={"help": "use this many prompts, a fixed random choice"},
        dtype={"help": "of the generators; the judges compute in float32 (default: %(default)s)"},
        seed={"help": "of the generators (default: %(default)s)"},
        workers={
            "help": "processes, each with its own generator or judges (default: 1; on a Ray cluster as many as fit)"
        },
    )
    p.add_argument(
        "--annotate",
        default="wrong",
        choices=["none", "wrong", "all"],
        help="draw the verdicts (of wrong images by default): boxes, masks, colours, reason",
    )
    p.add_argument("--strict", action="store_true", help="exit with 3 if anything is left out")
    p.add_argument("--dry-run", action="store_true", help="say what would run and what is missing")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    It is 3 if a generator failed or lacks its weights, and with --strict if pictures are missing.
    """
    own = parser()
    args = own.parse_args(argv)
    named = given(own, argv)
    if not named & {"images", "generators", "scenes"}:
        raise UserError("say what is to be judged: `images` DIR, `generators` NAMES or `scenes`")
    others = ("generators", "scenes", "seed", "dtype")
    refuse_beside("images", others, named, "since pictures that are there need no generator")
    if args.generators is None:
        refuse_beside("scenes", ("dtype",), named, "whose pictures are drawn, not generated")
    settings = Settings.of(vars(args))
    settings.check()
    at_least("samples", args.samples, 1, 10_000)
    at_least("scenes", args.scenes, 1, 100_000)
    names = split_names(args.generators, "generators") if args.generators is not None else []
    from benchmarks.generation.prompts import check_condition
    from benchmarks.geneval import detectors
    from lactok import registry

    for name in names:  # a wrong name is answered before anything is fetched
        check_condition(registry.generator_spec(name), "text")
    default_detector, default_colours = OFFICIAL if args.scenes is None else WITHOUT_DOWNLOAD
    detector = detectors.find("detector", args.detector or default_detector)
    colours = detectors.find("colour", args.colours or default_colours)
    from lactok.evaluation.evaluate import existing_folder

    if args.images:
        existing_folder(args.images)
    settings.use_machine()
    if args.scenes is not None and names:
        tell_known(args.scenes)
    from benchmarks.geneval import suite
    from lactok.evaluation.terminal import fitted

    if args.dry_run:
        lines = suite.plan(detector, colours, names, args.images, args.scenes, args.samples, args.limit)
        print("\n".join(lines))
        return 0
    run, execution = settings.run(), settings.execution()
    images, subject, asked = args.images, None, None
    # everything that can be wrong with prompts and pictures is found before anything is fetched or generated
    if images is not None:
        subject = suite.read_subject(images, args.samples, args.limit, detector, colours)
    elif names:
        asked = suite.asked_of_geneval(args.limit)
        if args.scenes is not None:
            asked = suite.asked_of_scenes(args.scenes, args.limit)
        words = [(repr(prompt["prompt"]), prompt) for prompt in asked.prompts.values()]
        suite.check_words(words, detector, colours)
    judges = suite.fetch_judges(detector, colours)
    is_composed = args.scenes is not None and not names
    if is_composed:
        count = args.scenes * args.samples
        logger.info("%d pictures of known truth are composed, then judged; a CPU takes about half a second each", count)
        images = suite.compose_scenes(execution.out, args.scenes, args.samples, args.seed)
        subject = suite.read_subject(images, args.samples, args.limit, detector, colours)
    results, missing, failed = suite.judge_generators(
        names, args.samples, judges, run, execution, args.annotate, asked=asked
    )
    if subject is not None:
        judged = suite.judge_images(subject, judges, run, execution, args.annotate)
        results += [] if judged is None else [judged]
    if results:
        show(results, execution.out)
    if results and is_composed:
        print("\nHow often these verdicts are true, and what captions of other scenes get:\n")
        from benchmarks.scenes.agreement import report_agreement

        assert subject is not None, "the scenes were read above"
        known = suite.detections_by_picture(subject, judges, run, execution)
        report_agreement(images, detector, colours, args.device, args.seed, known=known)
    if results and asked is not None and asked.name is not None:
        print("\nWhat these pictures get with captions of other scenes:\n")
        print(fitted(suite.with_other_captions(results, asked, judges, run, execution)))
    for kind, reasons in (("not run", missing), ("failed", failed)):
        for name, reason in reasons.items():
            print(f"{kind}: {name}: {as_flags(reason)}", file=sys.stderr)
    incomplete = any(result.data.dataset.skipped for result in results)
    return 3 if missing or failed or (args.strict and incomplete) else 0


def tell_known(count: int) -> None:
    """Say so where generators may have been trained on some of the captions of so many scenes."""
    if count > EVALUATED:
        logger.warning(
            "the first %d captions are kept from training; of the others, generators that were trained on composed "
            "scenes may have seen some",
            EVALUATED,
        )


def show(results: Sequence[GenEvalResult], out: Path) -> None:
    """Print the table of results and write it to a file in `out`; print what was left out and where everything is."""
    from benchmarks.geneval.result import markdown, system_name
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.table import lines_by_reason
    from lactok.evaluation.terminal import fitted
    from lactok.files import write_atomically

    text = markdown(results)
    names = "-".join(system_name(result) for result in results)
    # other judges, samples or seeds have a table of their own, as they have folders of their own
    rows = digest(sorted(result.folder.name for result in results))[:8]
    table = out / f"geneval__{names[:80].replace('/', '-')}__{rows}.md"
    with disk_errors(table):
        write_atomically(table, text.encode("utf-8", "replace"))
    print(f"\n{fitted(markdown(results, times=True))}")
    for result in results:
        for notes, label in ((result.data.dataset.skipped, "left out"), (result.data.remarks, "note")):
            for line in lines_by_reason(notes, label):
                print(line)
    print(f"written: {table} and one folder per row in {out}")


if __name__ == "__main__":
    main()
