"""`python -m benchmarks.recon`: how well tokenizers reconstruct photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, command
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    import argparse

    from lactok.evaluation.config import Execution, Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.evaluate import Outcome

ALL = ("all", "local")  # what `--tokenizers` may say instead of names


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.recon",
        description="Encode and decode photographs with tokenizers and score the reconstructions.",
    )
    p.add_argument(
        "--tokenizers",
        metavar="NAMES",
        help="names separated by spaces or commas, options after @; "
        "FILE.py:CLASS; all (the default); or local: all those whose weights need no download",
    )
    p.add_argument("--images", nargs=2, metavar=("REF", "REC"), help="score a folder of reconstructions instead")
    p.add_argument("--bits", type=float, help="bits per image of the folder REC of --images")
    add_options(p)
    p.add_argument("--svg", type=Path, metavar="FILE", help="also draw the table as a picture")
    p.add_argument("--strict", action="store_true", help="exit with 3 if any tokenizer lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run, what is missing, and what it costs")
    p.add_argument("--check", metavar="NAME", help="only say whether this adapter keeps the interface's contract")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed, or lacks its weights and was asked for."""
    args = parser().parse_args(argv)
    if args.check is not None:
        return check_adapter(args.check, args.device, args.weights)
    settings = Settings.of(vars(args))
    settings.check()
    check_combinations(args)
    asked = "all" if args.tokenizers is None else args.tokenizers
    names = tokenizer_names(asked)
    settings.use_machine()
    run, execution = settings.run(), settings.execution()
    from lactok.evaluation.evaluate import evaluate_sources, known_networks, report_unfinished, resolve_sources

    if args.images:
        references, reconstructions = args.images
        data, outcome = score_folder(references, reconstructions, args.bits, settings, run)
    else:
        data = settings.data()
        if args.dry_run:
            from benchmarks.recon.dry_run import plan

            print(plan(names, data, replace(run, networks=known_networks(run)), Path(settings.out)))
            return 0
        sources, missing, failed = resolve_sources(names, fetch=asked != "local")
        outcome = evaluate_sources(sources, data, run, execution)
        outcome.missing, outcome.failed = missing, failed | outcome.failed
    if outcome.results:
        show(outcome, data, run, execution, args.svg)
    named = asked not in ALL
    return report_unfinished(outcome.missing, outcome.failed, strict=args.strict or named)


def check_adapter(name: str, device: str, weights: str | None) -> int:
    """Check that an adapter keeps the tokenizer interface's contract, print the result, and return the exit code."""
    from lactok import registry

    registry.TOKENIZERS.check_name(name)  # before torch is imported, so that a typo is answered at once
    from benchmarks.contract.check import run_check

    return run_check(name, device, weights)


def check_combinations(args: argparse.Namespace) -> None:
    """Raise WrongValue for arguments that exclude each other."""
    if not args.images:
        if args.bits is not None:
            raise WrongValue("`bits` is of a folder of reconstructions: name it with `images`, or leave it out")
        return
    for argument, given in (("tokenizers", args.tokenizers is not None), ("dataset", args.dataset != Settings.dataset)):
        if given:
            raise WrongValue(f"`{argument}` does not go with `images`, which names both folders; leave one of them out")
    if args.dry_run:
        raise WrongValue("`dry_run` plans tokenizers; with `images` there is nothing to plan, leave one of them out")


def tokenizer_names(asked: str) -> list[str]:
    """Return the names of the tokenizers that `--tokenizers` asks for.

    Raises:
        UserError: an unknown name, or a wrong option of a tokenizer that was named.
    """
    from lactok import registry

    if asked in ALL:
        names = registry.list_tokenizers()
        for name in names:
            registry.TOKENIZERS.check_name(name)
        return names
    names = split_names(asked, more=", or use all")
    for name in names:
        registry.TOKENIZERS.check_name(name)
    for name in names:
        registry.tokenizer_spec(name)  # checks the options
    return names


def score_folder(
    references: str, reconstructions: str, bits: float | None, settings: Settings, run: Run
) -> tuple[Dataset, Outcome]:
    """Score a folder of reconstructions; return the data set of its references and what became of the measurement.

    Args:
        references: folder of the photographs.
        reconstructions: folder of their reconstructions.
        bits: bits per image of the reconstructions, if they are known.
    """
    from lactok.evaluation import datasets
    from lactok.evaluation.evaluate import evaluate_sources, existing_folder
    from lactok.evaluation.sources import FolderSource

    data = datasets.folder(existing_folder(references)).limited(settings.limit)
    source = partial(FolderSource, existing_folder(reconstructions), bits)
    return data, evaluate_sources([source], data, run, settings.execution())


def show(outcome: Outcome, data: Dataset, run: Run, execution: Execution, svg_file: Path | None) -> None:
    """Print the table of results and write it as Markdown, with what did not run and which images were left out.

    Args:
        svg_file: where the table is drawn too, if anywhere.
    """
    from lactok.evaluation.store import Store
    from lactok.evaluation.table import markdown, svg, with_stored_rows
    from lactok.evaluation.writing import folder_name
    from lactok.files import write_atomically

    text, protocol = markdown(outcome.results), run.protocol
    hashes = f"{protocol.prepare_hash}-{protocol.score_hash}"
    settings = folder_name("", data.name, hashes, limit=execution.limit, dtype=run.dtype, seed=run.seed)
    summary = execution.out / f"table{settings}.md"
    not_run = outcome.missing | outcome.failed
    with disk_errors(summary), Store(execution.out).alone(summary.name):
        rows = with_stored_rows(outcome.results, execution.out, settings)
        lines = "".join(f"\nnot run: {name}: {why}\n" for name, why in not_run.items())
        write_atomically(summary, (markdown(rows) + lines).encode("utf-8", "replace"))
    if svg_file:
        with disk_errors(svg_file):
            write_atomically(svg_file, svg(outcome.results, f"{data.name}, {protocol.name}").encode("utf-8", "replace"))
    print(
        f"\n{data.name}: {len(data.samples)} images, protocol {protocol.name} "
        f"({protocol.prepare.resolution} px, {hashes})\n\n{text}"
    )
    skipped = {s.id: s.reason for result in outcome.results for s in result.data.dataset.skipped}
    for identifier, reason in skipped.items():
        print(f"left out: {identifier}: {reason}")
    earlier = len(rows) - len(outcome.results)
    also = f" (with {earlier} {'row' if earlier == 1 else 'rows'} of earlier runs)" if earlier else ""
    print(f"written: {summary}{also} and one folder per row in {summary.parent}")


if __name__ == "__main__":
    main()
