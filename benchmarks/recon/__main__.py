"""`python -m benchmarks.recon`: how well tokenizers reconstruct photographs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.command import Parser, command
from lactok.errors import DiskError, UserError, WeightsNotFound, disk_errors

if TYPE_CHECKING:
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.sources import Row, Run
    from lactok.evaluation.store import Store


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.recon",
        description="Encode and decode photographs with tokenizers and score the reconstructions.",
    )
    p.add_argument("--tokenizers", default="all", help="names separated by spaces or commas, options after @; all; "
                   "or local: of all those whose weights need no download")  # fmt: skip
    p.add_argument("--images", nargs=2, metavar=("REF", "REC"), help="score a folder of reconstructions instead")
    p.add_argument("--bits", type=float, help="bits an image of --images")
    run_options(p)
    p.add_argument("--svg", type=Path, metavar="FILE", help="also draw the table as a picture")
    p.add_argument("--strict", action="store_true", help="exit with 3 if any tokenizer lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run, what is missing, and what it costs")
    p.add_argument("--check", metavar="NAME", help="only say whether this adapter keeps the interface's contract")
    return p


def run_options(p: argparse.ArgumentParser) -> None:
    """What is measured, where and how: the options that every command over reconstructions shares."""
    p.add_argument("--dataset", default="sample", help="sample, imagenet, coco, mjhq, flux5k, a folder, a .txt list")
    p.add_argument("--protocol", default="square-256", help="square-256, paper-1024, llamagen-256, titok-256")
    p.add_argument("--resolution", type=int, help="instead of the protocol's; changes its hash")
    p.add_argument("--metrics", default="default", help="default, all, or keys separated by commas")
    p.add_argument("--limit", type=int, help="use this many images, a fixed random choice")
    p.add_argument("--pictures", default="6", metavar="N|all", help="keep the reconstructions of this many samples, a "
                   "fixed random choice, besides the best and the worst (default: %(default)s)")  # fmt: skip
    p.add_argument("--out", default="runs", help="results and the store (default: %(default)s)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--batch-size", type=int, default=8, help="images at a time on a GPU; the CPU takes one by one")
    p.add_argument("--workers", type=int, default=1, help="processes, each with its own copy of the tokenizer")
    p.add_argument("--threads", type=int, default=0, help="threads a process (default: as torch chooses)")
    p.add_argument("--part", help="I/N: do only every N-th shard, from the I-th on; the last part to end merges")
    p.add_argument("--seed", type=int, default=0, help="of the run; an image's seed is hash(seed, its id)")
    p.add_argument("--weights", help="folder with weights, looked into before every other source")


def split_names(text: str) -> list[str]:
    """Names separated by spaces or commas; a comma inside options (`a@x=1,y=2`) belongs to the name."""
    names: list[str] = []
    for word in text.split():
        for part in word.split(","):
            if names and "=" in part and "@" not in part:
                names[-1] += f",{part}"
            elif part:
                names.append(part)
    return list(dict.fromkeys(names))


def configure(args: argparse.Namespace) -> tuple[Dataset, Run]:
    """Everything that can be wrong with the arguments is found here, before anything is computed."""
    from lactok import weights
    from lactok.device import check_device
    from lactok.evaluation import datasets, protocol
    from lactok.evaluation.sources import Run

    for flag, value, least in (
        ("batch-size", args.batch_size, 1),
        ("workers", args.workers, 1),
        ("threads", args.threads, 0),
    ):
        if value < least:
            raise UserError(f"--{flag} {value}: {least} or more")
    if args.weights:
        weights.use_folder(args.weights)
    check_device(args.device)
    chosen = protocol.get(args.protocol, args.resolution, args.metrics)
    pictures_of(args.pictures)
    images = getattr(args, "images", None)  # not every command has it
    dataset = datasets.folder(existing_folder(images[0])) if images else datasets.get(args.dataset)
    run = Run(chosen, args.device, args.dtype, args.seed, args.batch_size, args.threads)
    return dataset.limited(args.limit), run


def existing_folder(name: str) -> Path:
    path = Path(name)
    if not path.is_dir():
        raise UserError(f"--images: no such folder {name}")
    return path


def part_of(text: str | None) -> tuple[int, int]:
    """ "2/4" -> (1, 4)."""
    if text is None:
        return 0, 1
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise UserError(f"--part {text}: write I/N with 1 <= I <= N, as in 2/4")
    return int(first) - 1, int(second)


def pictures_of(text: str) -> int | None:
    """ "6" -> 6, "all" -> None."""
    if text == "all":
        return None
    if not text.isdecimal():
        raise UserError(f"--pictures {text}: write a number, 0 or more, or all")
    return int(text)


def available(
    names: Sequence[str], fetch: bool = True
) -> tuple[list[Callable[[], Row]], dict[str, str], dict[str, str]]:
    """Makers of the rows whose weights are there, whose weights are missing, and who is broken; with reasons.

    Without `fetch`, weights that are not on this machine count as missing, unless they are a network of the metrics,
    which is fetched anyway.
    """
    from lactok import registry, weights
    from lactok.evaluation.sources import TokenizerRow
    from lactok.metrics import METRIC_ASSETS

    rows: list[Callable[[], Row]] = []
    missing: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name in names:
        try:
            assets = registry.tokenizer_spec(name).assets
            elsewhere = [a for a in assets if a.sources and a not in METRIC_ASSETS and weights.locate(a) is None]
            if elsewhere and not fetch:
                size = sum(a.size for a in elsewhere) / 1e9
                raise WeightsNotFound(f"its weights ({size:.1f} GB) are not on this machine; name it to fetch them")
            registry.resolve_assets(name)
            rows.append(partial(TokenizerRow, name))
        except WeightsNotFound as error:
            missing[name] = str(error)
        except UserError as error:  # foreign weights or a plug-in that cannot be imported: the others still run
            broken[name] = str(error)
    return rows, missing, broken


def run_row(
    make_row: Callable[[], Row], dataset: Dataset, run: Run, store: Store, args: argparse.Namespace
) -> dict[str, Any] | None:
    """One row of the table; None while other parts still have shards to do."""
    from lactok.evaluation import kept_images, results
    from lactok.evaluation.progress import progress
    from lactok.evaluation.shards import Shard, run_shards

    row = make_row()
    shards = list(dataset.shards())
    part, parts = part_of(args.part)
    chosen = kept_images.chosen(dataset, pictures_of(args.pictures))
    with progress(row.name, len(shards[part::parts])) as report:
        timer = run_shards(make_row, shards[part::parts], run, store, chosen, args.workers, report)
    done = [Shard(row, s, run, store) for s in shards]
    unfinished = [s for s in done if not s.is_finished() or s.unpictured(chosen)]
    if unfinished:
        print(f"{row.name}: {len(unfinished)} of {len(shards)} shards are left to the other parts")
        return None
    keys = [k for s in done if (k := s.keys()) is not None]
    reasons = kept_images.reasons(chosen, shards, keys, run, store)
    lacking = [s.samples for s in done if s.unpictured(reasons)]
    if lacking:
        run_shards(make_row, lacking, run, store, reasons, args.workers)
    folder = Path(args.out) / results.folder_name(row.name, dataset, run, args.limit)
    kept_images.publish(folder, row, dataset, run, store, reasons)
    return results.merge(row, dataset, run, store, keys, folder, timer)


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok import registry

    if args.check is not None:
        registry.TOKENIZERS.check_name(args.check)  # before torch is imported
        from benchmarks.contract.__main__ import run_check

        return run_check(args.check, args.device, args.weights)

    everything = args.tokenizers in ("all", "local")
    names = registry.list_tokenizers() if everything else split_names(args.tokenizers)
    part_of(args.part)
    if not names:
        raise UserError("--tokenizers is empty; name some, or use all")
    for name in names:
        registry.TOKENIZERS.check_name(name)
    if not everything:
        for name in names:
            registry.tokenizer_spec(name)  # options are checked here
    dataset, run = configure(args)
    if args.dry_run and args.images:
        raise UserError("--dry-run plans tokenizers; with --images there is nothing to plan, leave one of them out")
    if args.dry_run:
        run = replace(run, networks=known_networks(run))
        from benchmarks.recon.dry_run import plan

        print(plan(names, dataset, run, Path(args.out)))
        return 0
    return measure(names, dataset, run, args, everything)


def measure(names: list[str], dataset: Dataset, run: Run, args: argparse.Namespace, everything: bool) -> int:
    from lactok.evaluation import results
    from lactok.evaluation.sources import FolderRow
    from lactok.evaluation.table import markdown, svg

    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    if args.images:
        rows: list[Callable[[], Row]] = [partial(FolderRow, Path(args.images[1]), args.bits)]
        rows[0]()
    else:
        rows, missing, failed = available(names, fetch=args.tokenizers != "local")
    found = run_rows(rows, dataset, run, args, failed)
    if found:
        text = markdown(found)
        summary = Path(args.out) / f"table{results.folder_name('', dataset, run, args.limit)}.md"
        with disk_errors(summary):
            summary.write_text(text + "".join(f"\nnot run: {n}: {why}\n" for n, why in (missing | failed).items()))
        if args.svg:
            with disk_errors(args.svg):
                args.svg.write_text(svg(found, f"{dataset.name}, {run.protocol.name}"))
        show(text, dataset, run, found, summary)
    return exit_code(missing, failed, args.strict or not everything)


def exit_code(missing: dict[str, str], failed: dict[str, str], strict: bool) -> int:
    """Names what did not run and why; 3 if something failed or, where `strict`, lacks its weights."""
    for name, reason in missing.items():
        print(f"not run: {name}: {reason}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 3 if failed or (missing and strict) else 0


def run_rows(
    rows: Sequence[Callable[[], Row]], dataset: Dataset, run: Run, args: argparse.Namespace, failed: dict[str, str]
) -> list[dict[str, Any]]:
    """The results of all rows that did not fail; why the others did is added to `failed`, by name.

    Raises:
        UserError: no row measured an image.
    """
    from lactok.evaluation import datasets
    from lactok.evaluation.store import Store

    store = Store(Path(args.out))
    run = replace(run, networks=metric_networks(run))
    if len(dataset.samples) < datasets.FEW:
        print(f"warning: {len(dataset.samples)} images are few; 30 or more give usable intervals", file=sys.stderr)
    found = []
    for make_row in rows:
        try:
            result = run_row(make_row, dataset, run, store, args)
        except DiskError:
            raise
        except UserError as error:
            failed[str(getattr(make_row, "args", ["?"])[0])] = str(error)
            continue
        except Exception as error:  # one adapter's bug must not lose the other rows
            name = str(getattr(make_row, "args", ["?"])[0])
            failed[name] = f"{type(error).__name__}: {error}"
            print_bug(name)
            continue
        if result is not None:
            found.append(result)
    if found and not any(result["dataset"]["n"] for result in found):
        first = found[0]["dataset"]["skipped"][0]
        count = len(dataset.samples)
        raise UserError(
            f"{dataset.name}: nothing to measure in {count} images; the first, {first['id']}: {first['reason']}"
        )
    return found


def metric_networks(run: Run) -> tuple[tuple[str, str], ...]:
    """Before anything is encoded: names and digests of the metrics' networks, fetched, or how to do without."""
    from lactok import weights
    from lactok.metrics import METRIC_NEEDS

    found = {}
    for metric in run.protocol.score.metrics:
        try:
            for asset in METRIC_NEEDS.get(metric, ()):
                found[asset.name] = weights.resolve(asset).sha256
        except WeightsNotFound as error:
            others = [m for m in run.protocol.score.metrics if m not in METRIC_NEEDS]
            raise UserError(f"{metric}: {error}; or leave it out: --metrics {','.join(others) or 'psnr'}") from None
    return tuple(sorted(found.items()))


def known_networks(run: Run) -> tuple[tuple[str, str], ...]:
    """As `metric_networks`, of those on this machine already: nothing is downloaded."""
    from lactok import weights
    from lactok.metrics import METRIC_NEEDS

    needed = {asset for metric in run.protocol.score.metrics for asset in METRIC_NEEDS.get(metric, ())}
    return tuple(sorted((a.name, f.sha256) for a in needed if (f := weights.locate(a)) is not None))


def print_bug(name: str) -> None:
    import traceback

    print(f"{name} failed; the other rows go on:", file=sys.stderr)
    traceback.print_exc()


def show(text: str, dataset: Dataset, run: Run, found: list[dict[str, Any]], summary: Path) -> None:
    """The table, what it was made of and what was left out."""
    prepare = run.protocol.prepare
    print(f"\n{dataset.name}: {len(dataset.samples)} images, protocol {run.protocol.name} "
          f"({prepare.resolution} px, {run.protocol.prepare_hash}-{run.protocol.score_hash})\n")  # fmt: skip
    print(text)
    skipped = {s["id"]: s["reason"] for r in found for s in r["dataset"]["skipped"]}
    for identifier, reason in skipped.items():
        print(f"left out: {identifier}: {reason}")
    print(f"written: {summary} and one folder a row in {summary.parent}")


if __name__ == "__main__":
    main()
