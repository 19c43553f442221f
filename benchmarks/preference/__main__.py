"""`python -m benchmarks.preference`: how well people would like pictures made from captions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.command import Parser, command
from lactok.errors import DiskError, UserError, disk_errors, unknown

if TYPE_CHECKING:
    from benchmarks.preference.captions import Captioned
    from benchmarks.preference.scoring import Judge
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.sources import Run
    from lactok.evaluation.store import Store

SHOWN = 10  # pictures left out that are named on the screen


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.preference",
        description="Score generated pictures with ImageReward, MPS, HPSv2 and others, and their distance to a set of "
        "photographs.",
    )
    p.add_argument("--images", type=Path, metavar="DIR", help="a folder of pictures: GenEval's layout, or flat with "
                   "captions.json or --captions")  # fmt: skip
    p.add_argument("--generators", help="names separated by spaces or commas: make the pictures first")
    p.add_argument("--metrics", default="default", help="default, all, or names separated by commas: rewards, fid, kid")
    p.add_argument("--captions", metavar="FILE", help=".tsv, .jsonl or .json of captions by file name; coco: of COCO "
                   "2017 val in the data folder (default with --generators)")  # fmt: skip
    p.add_argument("--reference", metavar="DIR", help="photographs for fid and kid: a folder or a data set's name")
    p.add_argument("--limit", type=int, help="use this many pictures (captions), a fixed random choice")
    p.add_argument("--out", default="runs", help="results and the store (default: %(default)s)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--batch-size", type=int, default=8, help="pictures at a time on a GPU; the CPU takes one by one")
    p.add_argument("--seed", type=int, default=0, help="of --generators")
    p.add_argument("--part", help="I/N: do only every N-th shard, from the I-th on; the last part to end merges")
    p.add_argument("--workers", type=int, default=1, help="processes, each with its own copy of a reward")
    p.add_argument("--weights", help="folder with weights, looked into before every other source")
    p.add_argument("--strict", action="store_true", help="exit with 3 if any reward lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run and what is missing")
    return p


@dataclass(frozen=True)
class Chosen:
    """What `--metrics` asks for; `named`: one by one, so that a missing one is an error."""

    rewards: list[str]
    distances: list[str]
    named: bool

    @property
    def needs_captions(self) -> bool:
        from lactok.metrics.rewards import specs

        return any(spec.needs_caption for spec in specs(self.rewards)[0].values())


@dataclass(frozen=True)
class Work:
    """A row to come.

    Attributes:
        name: of the row and its folder.
        plain: by which the paper's row is found.
        captioned: the pictures; of a generator the captions, until it has made them.
    """

    name: str
    plain: str
    captioned: Captioned
    generator: bool = False


def choose(metrics: str, reference: str | None) -> Chosen:
    """Raises UserError: an unknown metric, or a distance without a reference."""
    from benchmarks.preference.results import DISTANCES
    from lactok.metrics import rewards

    every = [*rewards.names(), *rewards.VARIANTS]
    if metrics in ("default", "all"):
        chosen = list(rewards.DEFAULT) if metrics == "default" else rewards.names()
        return Chosen(chosen, list(DISTANCES) if reference else [], False)
    named = list(dict.fromkeys(metrics.replace(",", " ").split()))
    for metric in named:
        if metric not in every and metric not in DISTANCES:
            raise unknown("metric", metric, [*every, *DISTANCES])
    if not named:
        raise UserError("--metrics is empty; name some, or use default or all")
    far = [m for m in named if m in DISTANCES]
    if far and reference is None:
        raise UserError(f"{far[0]} is a distance to photographs: name them with --reference DIR, or leave it out")
    if reference is not None and not far:
        raise UserError("--reference is for fid and kid: add them to --metrics, or leave it out")
    return Chosen([m for m in named if m not in DISTANCES], far, True)


def configure(args: argparse.Namespace) -> Run:
    from benchmarks.recon.__main__ import part_of
    from lactok import weights
    from lactok.device import check_device
    from lactok.evaluation import protocol
    from lactok.evaluation.sources import Run

    if (args.images is None) == (args.generators is None):
        raise UserError("name either --images DIR or --generators NAME,...")
    for flag, value in (("batch-size", args.batch_size), ("workers", args.workers)):
        if value < 1:
            raise UserError(f"--{flag} {value}: 1 or more")
    if args.images is not None and not args.images.is_dir():
        raise UserError(f"--images: no such folder {args.images}")
    part_of(args.part)
    if args.weights:
        weights.use_folder(args.weights)
    check_device(args.device)
    # the pictures of both sides of a distance; rewards have their own ways
    return Run(protocol.get("square-256", None, "rfid"), args.device, args.dtype, args.seed, args.batch_size)


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    run = configure(args)
    from benchmarks.preference import scoring
    from benchmarks.recon.__main__ import exit_code, metric_networks
    from lactok.evaluation import datasets

    chosen = choose(args.metrics, args.reference)
    work = works(args, chosen)
    reference = datasets.get(args.reference) if args.reference else None
    if args.dry_run:
        print(plan(chosen, work))
        return 0
    judges, missing, failed = scoring.available(chosen.rewards)
    if reference is not None:
        run = replace(run, networks=metric_networks(run))
    found = measure(work, judges, chosen, reference, run, args, failed) if judges or reference else []
    if found:
        show(found, [j for j in judges if j.spec.name not in failed], Path(args.out))
    return exit_code(missing, failed, args.strict or chosen.named or not judges)


def works(args: argparse.Namespace, chosen: Chosen) -> list[Work]:
    """The rows to come; captions are read here, so that a mistake in them costs no download."""
    from benchmarks.preference import captions
    from benchmarks.recon.__main__ import split_names
    from lactok.evaluation.datasets import Dataset, Sample
    from lactok.evaluation.results import folder_safe
    from lactok.registry import generator_spec

    if args.images is not None:
        found = captions.pictures(args.images, args.captions, chosen.needs_captions)
        found = replace(found, dataset=found.dataset.limited(args.limit))
        return [Work(f"images-{folder_safe(found.dataset.name)}", folder_safe(args.images.resolve().name), found)]
    source, texts = captions.named(args.captions or "coco")
    every = Dataset(source, tuple(Sample(name, Path(name), caption) for name, caption in sorted(texts.items())))
    wanted = captions.Captioned(every.limited(args.limit), source)
    names = split_names(args.generators)
    if not names:
        raise UserError("--generators is empty; name some")
    for name in names:
        generator_spec(name)  # a typo costs no download
    return [Work(name, name, wanted, generator=True) for name in names]


def made(work: Work, args: argparse.Namespace) -> Work | None:
    """A generator's pictures, one a caption, those that are there left as they are.

    None while other parts still have some to make.
    """
    from benchmarks.generation import __main__ as generation
    from benchmarks.preference import captions
    from benchmarks.recon.__main__ import part_of
    from lactok.evaluation.store import folder_safe

    wanted = work.captioned.dataset.samples
    limit = [f"limit{args.limit}"] * (args.limit is not None)
    parts = [work.name, work.captioned.source, *limit, args.dtype, f"seed{args.seed}"]
    folder = Path(args.out) / "generated" / "__".join(folder_safe(part) for part in parts)
    first, count = part_of(args.part)
    generation.generate(
        work.name, [{"prompt": s.caption, "file_name": s.id} for s in wanted], folder, samples=1, seed=args.seed,
        device=args.device, dtype=args.dtype, part=(first + 1, count),
    )  # fmt: skip
    found = captions.pictures(folder)
    if (left := len(wanted) - len(found.dataset.samples)) > 0:
        print(f"{work.name}: {left} of {len(wanted)} pictures are left to the other parts")
        return None
    return replace(work, captioned=replace(found, source=work.captioned.source))


def measure(
    work: Sequence[Work], judges: Sequence[Judge], chosen: Chosen, reference: Dataset | None, run: Run,
    args: argparse.Namespace, failed: dict[str, str],
) -> list[tuple[str, dict[str, Any]]]:  # fmt: skip
    """The results of all rows that are finished, by their plain name; why others are not is added to `failed`."""
    from lactok.evaluation.store import Store

    store, found = Store(Path(args.out)), []
    for row in work:
        ready: Work | None = row
        if row.generator:
            try:
                ready = made(row, args)
            except DiskError:
                raise
            except UserError as error:
                failed[row.name] = str(error)
                continue
        if ready is not None:
            result = measure_row(ready, judges, chosen.distances, reference, run, store, args, failed)
            if result is not None:
                found.append((row.plain, result))
    return found


def measure_row(
    work: Work, judges: Sequence[Judge], distances: Sequence[str], reference: Dataset | None, run: Run, store: Store,
    args: argparse.Namespace, failed: dict[str, str],
) -> dict[str, Any] | None:  # fmt: skip
    """One row of the table; None while other parts still have shards to do, or if no reward could score."""
    from benchmarks.preference import results, scoring
    from benchmarks.recon.__main__ import part_of, print_bug
    from lactok.evaluation.executors import Timer
    from lactok.evaluation.progress import progress

    shards = list(work.captioned.dataset.shards())
    references = list(reference.shards()) if reference else []
    # a generator's parts have made their pictures: whoever sees all of them scores what is not scored yet
    part, parts = (0, 1) if work.generator else part_of(args.part)
    own, timer, done = shards[part::parts], Timer(run.device), []
    for judge in judges:
        try:
            with progress(judge.spec.name, len(own)) as report:
                timer.add(scoring.score(judge, own, run, store, args.workers, report))
            done.append(judge)
        except DiskError:
            raise
        except UserError as error:
            failed[judge.spec.name] = str(error)
        except Exception as error:  # one reward's bug must not lose the others
            failed[judge.spec.name] = f"{type(error).__name__}: {error}"
            print_bug(judge.spec.name)
    if reference:
        both = [*own, *references[part::parts]]
        with progress("features", len(both)) as report:
            timer.add(scoring.features(both, run, store, args.workers, report))
    left = [s for s in shards if not scoring.is_finished(s, done, reference is not None, run, store)]
    left += [s for s in references if not scoring.is_finished(s, (), True, run, store)]
    if left:
        print(f"{work.name}: {len(left)} of {len(shards) + len(references)} shards are left to the other parts")
        return None
    if not done and not reference:
        return None
    to = reference.name if reference else ""
    folder = Path(args.out) / results.folder_name(work.name, work.captioned, done, run, args.limit, to)
    return results.merge(
        work.name, work.captioned, done, distances, reference, run, store, folder, timer
    )  # fmt: skip


def plan(chosen: Chosen, work: Sequence[Work]) -> str:
    """`--dry-run`: what would run and what is missing; nothing is downloaded or computed."""
    from tabulate import tabulate

    from lactok import weights
    from lactok.metrics.rewards import specs

    known, broken = specs(chosen.rewards)
    rows = []
    for name, spec in known.items():
        missing = [a for a in spec.assets if weights.locate(a) is None]
        size = sum(a.size for a in missing) / 1e9
        state = "nowhere to be had" if any(not a.sources for a in missing) else f"to fetch, {size:.1f} GB"
        rows.append([name, state if missing else "ready", spec.license, spec.variant])
    rows += [[name, "ready", "-", "at 256 px"] for name in chosen.distances]
    lines = [
        f"would {'make and ' if w.generator else ''}score {len(w.captioned.dataset.samples)} pictures of {w.plain} "
        f"(captions: {w.captioned.source})"
        for w in work
    ]
    table = tabulate(rows, ["metric", "weights", "licence", "variant"], tablefmt="simple", disable_numparse=True)
    lines += [table, *(f"cannot run: {reason}" for reason in broken.values())]
    return "\n".join([*lines, "where weights come from: python -m lactok.weights list"])


def show(found: Sequence[tuple[str, dict[str, Any]]], judges: Sequence[Judge], out: Path) -> None:
    """The table, what was left out and where it is written."""
    from benchmarks.preference import results
    from lactok.evaluation.datasets import FEW
    from lactok.evaluation.protocol import digest

    text = results.markdown(found, judges)
    what = [[r["pictures"], r["dataset"]["sha256"], sorted(r["metrics"])] for _, r in found]
    summary = out / f"table__preference__{digest(what)[:8]}.md"
    with disk_errors(summary):
        summary.write_text(text)
    print(f"\n{text}")
    for plain, result in found:
        dataset = result["dataset"]
        for entry in dataset["skipped"][:SHOWN]:
            print(f"left out: {entry['id']!a}: {entry['reason']}")
        if (more := len(dataset["skipped"]) - SHOWN) > 0:
            print(f"left out: {more} more, named in result.json")
        if dataset["without_picture"]:
            print(f"{plain}: {dataset['without_picture']} captions have no picture")
        if dataset["n"] < FEW:
            print(f"warning: {dataset['n']} pictures are few; {FEW} or more give usable intervals", file=sys.stderr)
    print(f"written: {summary} and one folder a row in {out}")


if __name__ == "__main__":
    main()
