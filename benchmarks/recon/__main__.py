"""`python -m benchmarks.recon`: how well tokenizers reconstruct photographs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, command, given, refuse_beside
from lactok.errors import DiskError, WrongValue, check_output_file, decimal, disk_errors, first_few
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from lactok.evaluation.config import Execution, Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.measuring import Outcome
    from lactok.evaluation.schema_parts import Skipped

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
    p.add_argument("--bits", type=decimal, help="bits per image of the folder REC of --images")
    add_options(p)
    p.add_argument("--svg", type=Path, metavar="FILE", help="also draw the table as a picture")
    p.add_argument("--strict", action="store_true", help="exit with 3 if any tokenizer lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would run, what is missing, and what it costs")
    p.add_argument("--check", metavar="NAME", help="only say whether this adapter keeps the interface's contract")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed, or lacks its weights and was asked for."""
    own = parser()
    args = own.parse_args(argv)
    check_combinations(given(own, argv))
    if args.check is not None:
        return check_adapter(args.check, args.device, args.weights)
    settings = Settings.of(vars(args))
    settings.check()
    check_output_file("svg", args.svg, ".svg")
    asked = "all" if args.tokenizers is None else args.tokenizers
    names = tokenizer_names(asked)
    settings.use_machine()
    run, execution = settings.run(), settings.execution()
    from lactok.evaluation.evaluate import check_fit, resolve_sources
    from lactok.evaluation.measuring import evaluate_sources, report_unfinished
    from lactok.evaluation.metric_networks import known_networks, with_networks

    if asked not in ALL:
        names = [run.protocol.tokenizer_name(name) for name in names]
        for name in names:
            check_fit(name, run.protocol)
    unmatched: list[str] = []
    if args.images:
        first, second = args.images
        run = with_networks(run, settings.metrics)
        data, outcome, unmatched = score_folder(first, second, args.bits, settings, run)
    else:
        data = settings.data()
        if args.dry_run:
            from benchmarks.recon.dry_run import plan

            print(plan(names, data, replace(run, networks=known_networks(run)), Path(settings.out)))
            return 0
        run = with_networks(run, settings.metrics)
        check_table(data, run, execution)
        sources, missing, failed = resolve_sources(names, asked != "local", run.protocol)
        outcome = evaluate_sources(sources, data, run, execution)
        outcome.missing, outcome.failed = missing, failed | outcome.failed
    if outcome.results:
        show(outcome, data, run, execution, args.svg, unmatched)
    named = asked not in ALL
    return report_unfinished(outcome.missing, outcome.failed, strict=args.strict or named)


def check_adapter(name: str, device: str, weights: str | None) -> int:
    """Check that an adapter keeps the tokenizer interface's contract, print the result, and return the exit code."""
    from lactok import registry

    registry.TOKENIZERS.check_name(name)  # before torch is imported, so that a typo is answered at once
    from benchmarks.contract.check import run_check

    return run_check(name, device, weights)


def check_combinations(named: Collection[str]) -> None:
    """Raise WrongValue for arguments of which one would leave the other without effect.

    Args:
        named: the arguments that the user gave.
    """
    others = [f.name for f in fields(Settings) if f.name not in ("device", "weights")]
    others += ["tokenizers", "images", "bits", "svg", "strict", "dry_run"]
    refuse_beside("check", others, named, "which tries an adapter and measures nothing")
    refuse_beside("images", ("tokenizers", "dataset"), named, "which names both folders")
    refuse_beside("images", ("dtype", "seed", "strict"), named, "since images that are there need no tokenizer")
    refuse_beside("images", ("dry_run",), named, "which has nothing to plan")
    if "bits" in named and "images" not in named:
        raise WrongValue("`bits` is of a folder of reconstructions: name it with `images`, or leave it out")


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
    references: str, images: str, bits: float | None, settings: Settings, run: Run
) -> tuple[Dataset, Outcome, list[str]]:
    """Score a folder of reconstructions.

    Args:
        references: folder of the photographs.
        images: folder of their reconstructions.
        bits: bits per image of the reconstructions, if they are known.

    Returns:
        The data set of the references, what became of the measurement, and the names of the images in the folder that
        are of no photograph.
    """
    from lactok.evaluation.evaluate import existing_folder, reconstructions
    from lactok.evaluation.measuring import evaluate_sources

    first, second = (existing_folder(folder, "images", "two folders") for folder in (references, images))
    source, data = reconstructions(first, second, bits, settings)
    check_table(data, run, settings.execution())
    return data, evaluate_sources([source], data, run, settings.execution()), source.unmatched


def settings_name(data: Dataset, run: Run, execution: Execution) -> str:
    """Return the end of the names of the table and of the rows of a data set, protocol and run."""
    from lactok.evaluation.writing import folder_name

    hashes = f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"
    return folder_name("", data.name, hashes, limit=execution.limit, dtype=run.dtype, seed=run.seed)


def check_table(data: Dataset, run: Run, execution: Execution) -> None:
    """Raise DiskError, before the work, where a folder lies in the place of the table."""
    table = execution.out / f"table{settings_name(data, run, execution)}.md"
    if table.is_dir():
        raise DiskError(f"{table} is a folder, where the table has to be written; move it or choose another `out`")


def show(
    outcome: Outcome,
    data: Dataset,
    run: Run,
    execution: Execution,
    svg_file: Path | None,
    unmatched: Sequence[str] = (),
) -> None:
    """Print the table of results and write it as Markdown, with what did not run and which images were left out.

    Args:
        svg_file: where the table is drawn too, if anywhere.
        unmatched: names of reconstructions that are of no photograph.
    """
    from lactok.evaluation.store import Store
    from lactok.evaluation.table import markdown, svg, with_stored_rows
    from lactok.files import write_atomically

    text, protocol = markdown(outcome.results), run.protocol
    hashes = f"{protocol.prepare_hash}-{protocol.score_hash}"
    settings = settings_name(data, run, execution)
    summary = execution.out / f"table{settings}.md"
    not_run = outcome.missing | outcome.failed
    with disk_errors(summary), Store(execution.out).alone(summary.name):
        rows = with_stored_rows(outcome.results, execution.out, settings)
        lines = "".join(f"\nnot run: {name}: {why}\n" for name, why in not_run.items())
        write_atomically(summary, (markdown(rows) + lines).encode("utf-8", "replace"))
    if svg_file:
        with disk_errors(svg_file, "choose another `svg`"):
            write_atomically(svg_file, svg(outcome.results, f"{data.name}, {protocol.name}").encode("utf-8", "replace"))
    print(
        f"\n{data.name}: {len(data.samples)} images, protocol {protocol.name} "
        f"({protocol.prepare.size_text}, {hashes})\n\n{text}"
    )
    skipped = {s.id: s for result in outcome.results for s in result.data.dataset.skipped}
    for line in left_out_lines(skipped.values(), unmatched):
        print(line)
    earlier = len(rows) - len(outcome.results)
    also = f" (with {earlier} {'row' if earlier == 1 else 'rows'} of earlier runs)" if earlier else ""
    print(f"written: {summary}{also} and one folder per row in {summary.parent}")


def left_out_lines(skipped: Iterable[Skipped], unmatched: Sequence[str]) -> list[str]:
    """Return a few lines that say which images were left out and why, however many there are.

    Args:
        skipped: the images that were left out.
        unmatched: names of reconstructions that are of no photograph.
    """
    from lactok.evaluation.folder_source import MISSING
    from lactok.evaluation.names import HOW_MATCHED
    from lactok.evaluation.table import lines_by_reason

    lines = lines_by_reason(skipped, "left out")
    if unmatched:
        lines.append(f"not used, since they are of no photograph: {first_few(unmatched)}")
    if unmatched or any(image.reason == MISSING for image in skipped):
        lines.append(HOW_MATCHED)
    return lines


if __name__ == "__main__":
    main()
