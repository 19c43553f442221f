"""`python -m reports try PHOTO...` shows what every tokenizer on this machine makes of pictures of one's own.

It measures as `python -m benchmarks.recon` does, then draws a sheet of all reconstructions and builds the page.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import MissingFile, WrongValue, check_output_folder, first_few
from lactok.evaluation.options import add_options
from lactok.files import is_file, is_folder
from lactok.outside_text import shown

if TYPE_CHECKING:
    from lactok.evaluation.config import Settings
    from lactok.evaluation.datasets import Dataset
    from lactok.evaluation.measuring import Outcome
    from lactok.evaluation.results import ReconResult

OUT = "try"
COLUMNS = 5  # of the sheet, the photograph among them
ROWS = 12  # photographs on the sheet at most; the page has all
OPTIONS = ("protocol", "device", "threads", "weights")


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `try` to a parser."""
    p.add_argument("photographs", nargs="+", metavar="PHOTO", help="image files, or folders of them")
    p.add_argument(
        "--tokenizers",
        metavar="NAMES",
        help="only these, separated by spaces or commas (default: all whose weights are on this machine)",
    )
    add_options(p, *OPTIONS)
    p.add_argument("--out", default=OUT, metavar="DIR", help="results, grid.png and the page (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, draw the sheet and build the page; return 3 if a tokenizer could not be run."""
    files = image_files(args.photographs)
    check_output_folder("out", args.out)
    out = Path(args.out)
    from lactok.evaluation.config import Settings

    given = {name: getattr(args, name) for name in OPTIONS}
    settings = Settings(out=out / "runs", pictures="all", **given)
    settings.check()
    names, elsewhere = tokenizers(args.tokenizers, given["weights"])
    outcome = measure(names, files, settings)
    if outcome.results:
        show(outcome.results, out)
    if elsewhere:
        print(
            f"not on this machine: {first_few(elsewhere, 5)}; `python -m lactok.weights fetch NAME` fetches one, "
            "`python -m lactok.weights list` says from where"
        )
    from lactok.evaluation.measuring import report_unfinished

    named = args.tokenizers is not None
    code = report_unfinished(outcome.missing, outcome.failed, strict=named)
    return 3 if named and elsewhere else code


def image_files(given: Sequence[str]) -> list[Path]:
    """Return the image files that the arguments name, each once; of a folder, all under it.

    Raises:
        MissingFile: there is no such file or folder.
        WrongValue: a file is not an image, or a folder holds none.
    """
    from lactok.evaluation.folders import files_under
    from lactok.images import EXTENSIONS, UnreadableImage, open_photograph

    found: dict[Path, None] = {}
    for name in given:
        path = Path(name)
        if is_folder(path):
            inside = files_under(path, EXTENSIONS)
            if not inside:
                raise WrongValue(f"PHOTO {shown(name, 200)}: a folder without images ({', '.join(EXTENSIONS)})")
            found |= dict.fromkeys(file.resolve() for file in inside)
        elif is_file(path):
            try:
                open_photograph(path)
            except UnreadableImage as error:
                raise WrongValue(f"PHOTO {shown(name, 200)} cannot be used: {error}; leave it out") from error
            found[path.resolve()] = None
        else:
            raise MissingFile(f"PHOTO {shown(name, 200)}: no such file")
    return list(found)


def tokenizers(asked: str | None, weights_folder: str | None) -> tuple[list[str], list[str]]:
    """Return the tokenizers that can run without fetching anything, and those that lack weights here.

    Args:
        asked: names, separated by spaces or commas; None for all.
        weights_folder: a folder that is looked into first.

    Raises:
        UserError: an unknown name, or a wrong option.
    """
    from lactok import registry, weights
    from lactok.evaluation.config import split_names

    names = registry.list_tokenizers() if asked is None else split_names(asked)
    if weights_folder:
        weights.use_folder(weights_folder)
    here: list[str] = []
    elsewhere: list[str] = []
    for name in names:
        registry.TOKENIZERS.check_name(name)
        lacking = [asset for asset in registry.tokenizer_spec(name).assets if weights.locate(asset) is None]
        (elsewhere if lacking else here).append(name)
    return here, elsewhere


def measure(names: Sequence[str], files: Sequence[Path], settings: Settings) -> Outcome:
    """Measure tokenizers on image files, without distances of sets and without metrics whose network is not here."""
    from dataclasses import replace

    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources
    from lactok.evaluation.metric_networks import with_networks

    settings.use_machine()
    keys = metrics(settings)
    settings = replace(settings, metrics=keys)
    run = with_networks(settings.run(), keys)
    sources, missing, broken = resolve_sources(names, fetch=False, protocol=run.protocol)
    outcome = evaluate_sources(sources, dataset(files), run, settings.execution())
    outcome.missing |= missing
    outcome.failed |= broken
    return outcome


def metrics(settings: Settings) -> list[str]:
    """Return the protocol's metrics of single images whose networks are on this machine; a line names the others.

    Raises:
        WrongValue: there is none.
    """
    from lactok import weights
    from lactok.metrics.registry import ImageMetric, find

    kept, of_sets, without = [], [], []
    for metric in map(find, settings.run().protocol.score.metrics):
        lacking = [asset.name for asset in metric.needs if weights.locate(asset) is None]
        if not isinstance(metric, ImageMetric):
            of_sets.append(metric.title)
        elif lacking:
            without += [(metric.title, asset) for asset in lacking]
        else:
            kept.append(metric.key)
    if of_sets:
        print(f"left out: {', '.join(of_sets)}, which compare whole sets of photographs", file=sys.stderr)
    if without:
        titles = ", ".join(dict.fromkeys(title for title, _ in without))
        fetch = "; ".join(dict.fromkeys(f"python -m lactok.weights fetch {asset}" for _, asset in without))
        print(f"left out: {titles}, whose network is not on this machine; to have it: {fetch}", file=sys.stderr)
    if not kept:
        raise WrongValue(f"`protocol` {settings.protocol} has no metric that can be computed here without a download")
    return kept


def dataset(files: Sequence[Path]) -> Dataset:
    """Return image files as a data set; an image's id is its name, with folders where two have the same name."""
    from lactok.evaluation.datasets import named_by_content
    from lactok.evaluation.lists import ids_of
    from lactok.evaluation.names import utf8
    from lactok.evaluation.samples import Sample

    ids = ids_of([os.fspath(file) for file in files])
    samples = sorted((Sample(utf8(ids[os.fspath(file)]), file) for file in files), key=lambda s: s.id.split("/"))
    return named_by_content(files[0].stem if len(files) == 1 else "pictures", tuple(samples))


def show(results: Sequence[ReconResult], out: Path) -> None:
    """Print the table of the results, draw the sheet and build the page."""
    from lactok.evaluation.results import Results
    from lactok.evaluation.table import markdown
    from reports import build

    print(f"\n{markdown(results)}")
    build.write(Results(tuple(results)), out)
    sheet_of(results, out / "grid.png")
    print(f"written: {out / 'grid.png'}, every reconstruction with its figures")
    print(f"open {out / 'index.html'} in a browser, or let this machine show it: python -m reports serve --out {out}")


def sheet_of(results: Sequence[ReconResult], path: Path) -> None:
    """Draw each photograph with its reconstructions, and below each the name and the figures.

    Tokenizers are in the order of their bits; those that gave every photograph back exactly are left out.
    """
    from reports.conditions import is_lossless
    from reports.grids import bits
    from reports.pictures import open_picture, stored_pictures
    from reports.sheet import GridRow, grid

    shown_here = sorted((r for r in results if not is_lossless(r)), key=lambda r: (bits(r), r.label))
    stored = [(r, found.by_sample) for r in shown_here or results if (found := stored_pictures(r)) is not None]
    samples = list(dict.fromkeys(sample for _, by_sample in stored for sample in by_sample))
    if len(samples) > ROWS:
        print(f"{path} has the first {ROWS} of {len(samples)} photographs; the page has all", file=sys.stderr)
    rows: list[GridRow] = []
    for sample in samples[:ROWS]:
        cells: list[tuple[Any, str]] = []
        for r, by_sample in stored:
            if sample in by_sample:
                if not cells:
                    cells.append((open_picture(by_sample[sample].reference), f"photograph\n{sample}"))
                cells.append((open_picture(by_sample[sample].path), f"{r.label}\n{figures(r, sample)}"))
        for start in range(0, len(cells), COLUMNS):
            part = cells[start : start + COLUMNS]
            rows.append(GridRow("", [picture for picture, _ in part], [caption for _, caption in part]))
    grid((), rows, path)


def figures(result: ReconResult, sample: str) -> str:
    """Return the bits of a result and a sample's values, each on its line, as captions below pictures have them."""
    bits, records = result.data.tokenizer.bits, result.records
    lines = [] if bits is None else [f"{bits:,.0f} bits"]
    own = records[records["id"] == sample].iloc[0]
    for key in result.metrics:
        if key in records:
            metric = result.metric(key)
            lines.append(f"{metric.title} {own[key] * metric.scale:.{metric.digits}f}")
    return "\n".join(lines)
