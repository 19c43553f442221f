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
    from lactok.evaluation.config import Execution, Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.evaluate import Outcome


def parser() -> Parser:
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
    p.add_argument("--bits", type=float, help="bits an image of --images")
    add_options(p)
    p.add_argument("--svg", type=Path, metavar="FILE", help="also draw the table as a picture")
    p.add_argument("--strict", action="store_true", help="exit with 3 if any tokenizer lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run, what is missing, and what it costs")
    p.add_argument("--check", metavar="NAME", help="only say whether this adapter keeps the interface's contract")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok import registry

    if args.check is not None:
        registry.TOKENIZERS.check_name(args.check)  # before torch is imported
        from benchmarks.contract.check import run_check

        return run_check(args.check, args.device, args.weights)
    settings = Settings.of(vars(args))
    settings.check()
    for argument, given in (("tokenizers", args.tokenizers is not None), ("dataset", args.dataset != Settings.dataset)):
        if args.images and given:
            raise WrongValue(f"`{argument}` does not go with `images`, which names both folders; leave one of them out")
    asked = "all" if args.tokenizers is None else args.tokenizers
    everything = asked in ("all", "local")
    names = registry.list_tokenizers() if everything else split_names(asked, more=", or use all")
    for name in names:
        registry.TOKENIZERS.check_name(name)
    if not everything:
        for name in names:
            registry.tokenizer_spec(name)  # options are checked here
    settings.use_machine()
    run = settings.run()
    from lactok.evaluation import datasets
    from lactok.evaluation.evaluate import available, evaluate_sources, existing_folder, known_networks, said

    if args.bits is not None and not args.images:
        raise WrongValue("`bits` is of a folder of reconstructions: name it with `images`, or leave it out")
    if args.images and args.dry_run:
        raise WrongValue("`dry_run` plans tokenizers; with `images` there is nothing to plan, leave one of them out")
    if args.images:
        from lactok.evaluation.sources import FolderSource

        data = datasets.folder(existing_folder(args.images[0])).limited(settings.limit)
        made = partial(FolderSource, existing_folder(args.images[1]), args.bits)
        outcome = evaluate_sources([made], data, run, settings.execution())
        everything = False
    else:
        data = settings.data()
        if args.dry_run:
            from benchmarks.recon.dry_run import plan

            print(plan(names, data, replace(run, networks=known_networks(run)), Path(settings.out)))
            return 0
        sources, missing, failed = available(names, fetch=asked != "local")
        outcome = evaluate_sources(sources, data, run, settings.execution())
        outcome.missing, outcome.failed = missing, failed | outcome.failed
    if outcome.results:
        show(outcome, data, run, settings.execution(), args.svg)
    return said(outcome.missing, outcome.failed, args.strict or not everything)


def show(outcome: Outcome, data: Dataset, run: Run, execution: Execution, picture: Path | None) -> None:
    """Print and store the table, what it was made of and what was left out."""
    from lactok.evaluation.table import markdown, svg
    from lactok.evaluation.writing import folder_name

    text, protocol = markdown(outcome.results), run.protocol
    hashes = f"{protocol.prepare_hash}-{protocol.score_hash}"
    name = folder_name("table", data.name, hashes, limit=execution.limit, dtype=run.dtype, seed=run.seed)
    summary = execution.out / f"{name}.md"
    not_run = outcome.missing | outcome.failed
    with disk_errors(summary):
        summary.write_text(text + "".join(f"\nnot run: {name}: {why}\n" for name, why in not_run.items()))
    if picture:
        with disk_errors(picture):
            picture.write_text(svg(outcome.results, f"{data.name}, {protocol.name}"))
    print(
        f"\n{data.name}: {len(data.samples)} images, protocol {protocol.name} "
        f"({protocol.prepare.resolution} px, {hashes})\n\n{text}"
    )
    skipped = {s.id: s.reason for result in outcome.results for s in result.data.dataset.skipped}
    for identifier, reason in skipped.items():
        print(f"left out: {identifier}: {reason}")
    print(f"written: {summary} and one folder a row in {summary.parent}")


if __name__ == "__main__":
    main()
