"""`python -m benchmarks.recon`: how well tokenizers reconstruct photographs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.recon.asked import ALL, tokenizer_names
from lactok.command import Parser, command, given, interpreter, refuse_beside
from lactok.errors import DiskError, WrongValue, check_output_file, decimal, disk_errors, first_few
from lactok.evaluation.config import Settings
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from lactok.evaluation.config import Execution, Run
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.measuring import Outcome
    from lactok.evaluation.schema_parts import Skipped


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.recon",
        description="Encode and decode photographs with tokenizers and score the reconstructions.",
        examples={
            "all tokenizers that need no download, on the 36 sample photographs": "--tokenizers local",
            "two by name, one with options, on a folder of yours": '--tokenizers "titok-s128 jpeg@bits=1536" '
            "--dataset PHOTOGRAPHS",
            "as the LaCTok paper measures, on a GPU": "--tokenizers llamagen-vq16 --dataset coco --protocol paper-1024 "
            "--device cuda",
            "reconstructions that you have as files": "--images PHOTOGRAPHS RECONSTRUCTIONS --name mine --bits 3584",
            "what a run would take, before anything is fetched": "--tokenizers all --dry-run",
        },
    )
    p.add_argument(
        "--tokenizers",
        metavar="NAMES",
        help="names separated by spaces or commas, options after @; "
        "FILE.py:CLASS; local: all those whose weights need no download; or all, whose weights are fetched",
    )
    p.add_argument("--images", nargs=2, metavar=("REF", "REC"), help="score a folder of reconstructions instead")
    p.add_argument("--bits", type=decimal, help="bits per image of the folder REC of --images")
    p.add_argument("--name", help="name of the row of --images (default: images-REC and digits of their hash)")
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
    asked = args.tokenizers or ""
    names = [] if args.images else tokenizer_names(args.tokenizers)
    # everything that can be wrong in itself is answered before torch is imported, which takes seconds
    protocol = settings.check_names()
    from lactok.evaluation.evaluate import check_fit, check_row_name, existing_folder, resolve_sources

    if asked not in ALL:
        names = [protocol.tokenizer_name(name) for name in names]
        for name in names:
            check_fit(name, protocol)
    for folder in args.images or ():
        existing_folder(folder, "images", "two folders")
    check_row_name(args.name)
    settings.use_machine()
    run, execution = settings.run(), settings.execution()
    from lactok.evaluation.measuring import evaluate_sources, report_unfinished
    from lactok.evaluation.metric_networks import known_networks, with_networks

    unmatched: list[str] = []
    if args.images:
        first, second = map(Path, args.images)
        data, outcome, unmatched = score_folder(first, second, args.bits, settings, run, args.name)
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
    where, named = "", asked not in ALL
    if outcome.results:
        table = show(outcome, data, run, execution, args.svg, unmatched)
        if not named:  # a line for those that nobody named; one for each where the user did
            where = f"{table} says why; --tokenizers all --dry-run says what each needs, naming one fetches its weights"
    code = report_unfinished(outcome.missing, outcome.failed, args.strict or named, where)
    if outcome.results:
        reports = f"{interpreter()} -m reports"
        runs = "" if str(execution.out) == "runs" else f" --runs {execution.out}"
        print(f"next: {reports}{runs} makes the page with every picture, {reports} serve shows it")
    return code


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
    others += ["tokenizers", "images", "bits", "name", "svg", "strict", "dry_run"]
    refuse_beside("check", others, named, "which tries an adapter and measures nothing")
    refuse_beside("images", ("tokenizers", "dataset"), named, "which names both folders")
    refuse_beside("images", ("dtype", "seed", "strict"), named, "since images that are there need no tokenizer")
    refuse_beside("images", ("dry_run",), named, "which has nothing to plan")
    for argument in ("bits", "name"):
        if argument in named and "images" not in named:
            raise WrongValue(f"`{argument}` is of a folder of reconstructions: name it with `images`, or leave it out")


def score_folder(
    references: Path, images: Path, bits: float | None, settings: Settings, run: Run, name: str | None = None
) -> tuple[Dataset, Outcome, list[str]]:
    """Score a folder of reconstructions.

    Args:
        references: folder of the photographs.
        images: folder of their reconstructions.
        bits: bits per image of the reconstructions, if they are known.
        settings: the command's settings.
        run: the run, still without the metrics' networks, which are fetched once the folders are known to be right.
        name: name of the row, if it is to have another than the folder's.

    Returns:
        The data set of the references, what became of the measurement, and the names of the images in the folder that
        are of no photograph.
    """
    from lactok.evaluation.evaluate import reconstructions
    from lactok.evaluation.measuring import evaluate_sources
    from lactok.evaluation.metric_networks import with_networks

    source, data = reconstructions(references, images, bits, settings, name)
    run = with_networks(run, settings.metrics)
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
) -> Path:
    """Print the table of results and write it as Markdown, with what did not run and which images were left out.

    Args:
        svg_file: where the table is drawn too, if anywhere.
        unmatched: names of reconstructions that are of no photograph.

    Returns:
        The file that was written.
    """
    from lactok.evaluation.store import Store
    from lactok.evaluation.table import markdown, svg, with_stored_rows
    from lactok.evaluation.terminal import fitted
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
        f"({protocol.prepare.size_text}, {hashes})\n\n{fitted(text)}"
    )
    skipped = {s.id: s for result in outcome.results for s in result.data.dataset.skipped}
    for line in left_out_lines(skipped.values(), unmatched):
        print(line)
    earlier = len(rows) - len(outcome.results)
    also = f" (with {earlier} {'row' if earlier == 1 else 'rows'} of earlier runs)" if earlier else ""
    print(f"written: {summary}{also} and one folder per row in {summary.parent}")
    return summary


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
