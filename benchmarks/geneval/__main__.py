"""`python -m benchmarks.geneval`: do generated images show what their prompts ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recon.__main__ import part_of, split_names
from lactok.command import Parser, command
from lactok.errors import UserError, WeightsNotFound, disk_errors

if TYPE_CHECKING:
    from benchmarks.geneval.folder import Folder
    from benchmarks.geneval.judge import Judges
    from benchmarks.geneval.result import Subject

SHOWN = 20  # faults that are printed; all of them stand in result.json
SCENES = 120  # captions
LOCAL = "--detector scenes-tiny --colours scenes-tiny"


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.geneval",
        description="GenEval: an object detector and a colour classifier judge generated images.",
        epilog="A sample that is missing or cannot be read is left out of every mean and named; the other samples of "
        "its prompt count, and a prompt without any is left out. With --strict that ends with exit code 3.",
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path, metavar="DIR", help="pictures in GenEval's layout: "
                      "DIR/00000/metadata.jsonl and DIR/00000/samples/0000.png")  # fmt: skip
    what.add_argument("--generators", metavar="NAMES", help="generators, separated by spaces or commas, options after "
                      "@: make the pictures of GenEval's 553 prompts first")  # fmt: skip
    what.add_argument("--scenes", nargs="?", type=int, const=SCENES, metavar="N", help="compose pictures of known "
                      "truth for N captions (%(const)s) and judge them by scenes-tiny: needs no download")  # fmt: skip
    p.add_argument("--samples", type=int, default=4, help="pictures a prompt (default: %(default)s, as published)")
    p.add_argument("--detector", help="mask2former-mmdet (the official one, default), mask2former-hf, scenes-tiny "
                   "(default with --scenes, needs no download), or a plug-in's")  # fmt: skip
    p.add_argument("--colours", help="clip-vit-l-14 (the official one, default), scenes-tiny (default with --scenes), "
                   "or a plug-in's")  # fmt: skip
    p.add_argument("--out", default="runs", help="results and the store (default: %(default)s)")
    p.add_argument("--limit", type=int, help="use this many prompts, a fixed random choice")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"],
                   help="of the generators; the judges compute in float32")  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of the generators")
    p.add_argument("--part", help="I/N: do only every N-th prompt, from the I-th on; the last part to end merges")
    p.add_argument("--workers", type=int, default=1, help="processes that judge, each with its own judges")
    p.add_argument("--annotate", default="wrong", choices=["none", "wrong", "all"],
                   help="draw the verdicts (of wrong images by default): boxes, masks, colours, reason")  # fmt: skip
    p.add_argument("--weights", help="folder with weights, looked into before every other source")
    p.add_argument("--strict", action="store_true", help="exit with 3 if anything is left out")
    p.add_argument("--dry-run", action="store_true", help="say what would run and what is missing")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for flag, value in (("samples", args.samples), ("workers", args.workers), ("limit", args.limit),
                        ("scenes", args.scenes)):  # fmt: skip
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value}: 1 or more")
    part_of(args.part)
    names = split_names(args.generators) if args.generators is not None else []
    if args.generators is not None and not names:
        raise UserError("--generators is empty; name some")
    from benchmarks.geneval import detectors
    from lactok import registry

    for name in names:  # before anything is fetched
        registry.generator_spec(name)

    official = ("mask2former-mmdet", "clip-vit-l-14") if args.scenes is None else ("scenes-tiny", "scenes-tiny")
    args.detector, args.colours = args.detector or official[0], args.colours or official[1]
    judging = detectors.find("detector", args.detector), detectors.find("colour", args.colours)
    if args.images and not args.images.is_dir():
        raise UserError(f"--images: no such folder {args.images}")
    from lactok import weights
    from lactok.device import check_device

    if args.weights:
        weights.use_folder(args.weights)
    check_device(args.device)
    if args.dry_run:
        return dry_run(args, names, [judge.spec for judge in judging])
    judges, sources = configured(args, *judging)
    if args.scenes is not None:
        args.images = composed(args)
    return measure(args, names, judges, sources)


def configured(args: argparse.Namespace, detector: type[Any], colours: type[Any]) -> tuple[Judges, dict[str, str]]:
    """The judges, and where their weights came from, which are fetched here."""
    from benchmarks.geneval.judge import Judges
    from lactok import weights
    from lactok.evaluation.store import Store

    try:
        found = [weights.resolve(asset) for asset in (*detector.spec.assets, *colours.spec.assets)]
    except WeightsNotFound as error:
        raise WeightsNotFound(f"{error}. {LOCAL} needs no download, but is made for composed scenes") from None
    digests = tuple(sorted({f.asset.name: f.sha256 for f in found}.items()))
    judges = Judges(detector, colours, digests, Store(Path(args.out)), args.device, args.annotate)
    return judges, {f.asset.name: f.source for f in found}


def composed(args: argparse.Namespace) -> Path:
    """The folder of composed scenes, made where it is not there yet."""
    from benchmarks.scenes.folder import make
    from lactok.evaluation.progress import progress

    folder = Path(args.out) / f"scenes-{args.scenes}x{args.samples}-seed{args.seed}"
    done = folder / f"{args.scenes - 1:05}" / "metadata.jsonl"  # written last
    if not done.is_file():
        with progress("scenes", args.scenes, "captions") as report:
            make(folder, args.scenes, args.samples, args.seed, report=report)
    return folder


def measure(args: argparse.Namespace, names: list[str], judges: Judges, sources: dict[str, str]) -> int:
    results, missing, incomplete = [], {}, False
    for name in names or [""]:
        try:
            subject = of_generator(args, name) if name else of_images(args)
        except WeightsNotFound as error:  # the other generators still run
            missing[name] = str(error)
            continue
        result = judged(args, subject, judges, sources)
        if result is not None:
            results.append(result)
            incomplete = incomplete or bool(result["left_out"])
    if results:
        show(args, results)
    if results and args.scenes is not None:
        print("\nHow often these verdicts are true, and what captions of other scenes get:\n")
        from benchmarks.scenes.agreement import report_agreement

        report_agreement(args.images, judges.detector, judges.colours, args.device, args.seed)
    for name, reason in missing.items():
        print(f"not run: {name}: {reason}", file=sys.stderr)
    return 3 if missing or (args.strict and incomplete) else 0


def of_images(args: argparse.Namespace) -> Subject:
    from benchmarks.geneval import folder
    from benchmarks.geneval.result import Subject

    found = folder.read(args.images, args.samples, args.limit)
    suffix = [f"limit{args.limit}"] * (args.limit is not None)
    return Subject(f"{found.name}-{found.sha256[:6]}", found, tuple(suffix))


def of_generator(args: argparse.Namespace, name: str) -> Subject:
    """The pictures of GenEval's prompts by a generator, made where they are not there yet."""
    from benchmarks.generation.__main__ import generate
    from benchmarks.geneval import folder, prompts
    from benchmarks.geneval.result import Subject

    part, parts = part_of(args.part)
    official = prompts.official()
    asked = [official[i] for i in folder.chosen(len(official), args.limit)]
    suffix = [f"limit{args.limit}"] * (args.limit is not None) + [args.dtype] * (args.dtype != "float32")
    suffix += [f"seed{args.seed}"] * (args.seed != 0) + [f"samples{args.samples}"] * (args.samples != folder.SAMPLES)
    root = Path(args.out) / "generated" / "__".join([name, *suffix])
    generate(
        name, asked, root, samples=args.samples, seed=args.seed, device=args.device, dtype=args.dtype,
        part=(part + 1, parts),
    )  # fmt: skip
    found = folder.read(root, args.samples, numbers=range(len(asked)))
    described = {"name": name, "samples": args.samples, "seed": args.seed, "dtype": args.dtype}
    return Subject(name, found, tuple(suffix), described)


def judged(
    args: argparse.Namespace, subject: Subject, judges: Judges, sources: dict[str, str]
) -> dict[str, Any] | None:
    """The result; None while other parts still have prompts to do."""
    from benchmarks.geneval import result
    from benchmarks.geneval.judge import start_worker, work
    from lactok.evaluation.executors import run_jobs
    from lactok.evaluation.progress import progress

    check_words(subject.pictures, judges)
    part, parts = part_of(args.part)
    entries = subject.pictures.entries
    mine = [e for e in entries if e.pictures and e.index % parts == part]
    with progress(subject.name, len(mine), "prompts") as report:
        total = run_jobs(work, mine, start_worker, (judges,), args.device, args.workers, report)
    unfinished = sum(not judges.is_finished(e) for e in entries if e.pictures)
    if parts > 1 and subject.generator is not None:  # what is not there is not missing: another part makes it
        complete = sum(len(e.pictures) >= args.samples and judges.is_finished(e) for e in entries)
        unfinished = subject.pictures.asked - complete
    if unfinished:
        print(f"{subject.name}: {unfinished} of {subject.pictures.asked} prompts are left to the other parts")
        return None
    return result.merge(subject, judges, sources, Path(args.out) / subject.folder_name(judges), total)


def check_words(found: Folder, judges: Judges) -> None:
    """Every object and colour that a prompt asks for must be one that the judges know."""
    detector, colours = judges.detector.spec, judges.colours.spec
    for entry in found.entries:
        for clause in (*entry.prompt.get("include", []), *entry.prompt.get("exclude", [])):
            for word, spec, flag in (
                (clause["class"], detector, "detector"),
                (clause.get("color"), colours, "colours"),
            ):
                if word is not None and word not in spec.vocabulary:
                    raise UserError(f"{entry.id} asks for {word!r}, which {spec.name} does not know; use another "
                                    f"--{flag}, or one of: {', '.join(spec.vocabulary)}")  # fmt: skip


def show(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """The table, what was left out, and where everything is."""
    from benchmarks.geneval.result import markdown

    text = markdown(results)
    names = "-".join(r["generator"]["name"] if "generator" in r else r["images"]["name"] for r in results)
    table = Path(args.out) / f"geneval__{names[:80].replace('/', '-')}.md"
    with disk_errors(table):
        table.write_text(text)
    print(f"\n{text}")
    for result in results:
        for kind, label in (("left_out", "left out"), ("remarks", "note")):
            notes = result[kind]
            for note in notes[:SHOWN]:
                print(f"{label}: {note['id']}: {note['text']}")
            if len(notes) > SHOWN:
                print(f"{label}: and {len(notes) - SHOWN} more, in result.json")
    print(f"written: {table} and one folder a row in {args.out}")


def dry_run(args: argparse.Namespace, names: list[str], specs: list[Any]) -> int:
    """What would be judged and what is missing; nothing is fetched, made or written."""
    from benchmarks.geneval import folder, prompts
    from lactok import weights

    for spec in specs:
        for asset in spec.assets:
            there = weights.locate(asset)
            where = f"{there.source}  {there.path}" if there else f"not here, {asset.size / 1e6:.0f} MB to fetch"
            print(f"{spec.name}: {asset.name}: {where}")
        if not spec.assets:
            print(f"{spec.name}: needs no weights")
    for name in names:
        asked = len(folder.chosen(len(prompts.official()), args.limit))
        print(f"{name}: {asked} prompts, {asked * args.samples} pictures to make and to judge")
    if not names:
        found = folder.read(args.images, args.samples, args.limit)
        pictures = sum(len(e.pictures) for e in found.entries)
        print(f"{found.name}: {len(found.entries)} prompts, {pictures} pictures to judge")
        for note in found.left_out:
            print(f"left out: {note.id}: {note.text}")
        for note in found.remarks:
            print(f"note: {note.id}: {note.text}")
    return 0


if __name__ == "__main__":
    main()
