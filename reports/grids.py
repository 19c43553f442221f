"""`python -m reports grid`: the grids of pictures of a paper, captions above and at the left."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, unknown
from reports.drawing import save, style, wrap

if TYPE_CHECKING:
    from PIL.Image import Image

    from benchmarks.geneval.folder import Entry
    from lactok.evaluation.results import ReconResult
    from reports.pictures import Pictures

CELL = 1.25  # inches: five columns fill a page of 7 inches
LEFT = 0.85  # inches for the rows' captions
GAP = 0.04
SMALLEST = 256  # pixels a cell, so that captions can be read in a PNG file
MOST = 120e6  # pixels of the whole
LINE = 1.25  # of the letters' height
POINTS = 7.0
ROWS = 4  # by default
MORE = "python -m benchmarks.recon --pictures all, with the options of the run, stores every sample's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="recon|generation")
    recon = kinds.add_parser("recon", help="a row a sample: the photograph and what each tokenizer made of it")
    recon.add_argument("--runs", default="runs", metavar="DIR", help="stored results (default: %(default)s)")
    recon.add_argument(
        "--samples",
        metavar="a,b,...|N",
        help=f"samples by id, or so many of those that all have (default: up to {ROWS})",
    )
    recon.add_argument(
        "--tokenizers",
        nargs="+",
        metavar="NAME",
        help="which and in this order (default: all that "
        "have pictures, by bits); a result folder's name tells two runs of one apart",
    )
    recon.add_argument(
        "--photographs",
        metavar="NAME",
        help="where the runs hold several data sets or sizes: which, by the name of its folder in references/",
    )
    recon.add_argument("--crop", metavar="x,y,w,h", help="this window of every picture, in pixels")
    generation = kinds.add_parser("generation", help="a row a prompt: what each system generated")
    generation.add_argument(
        "--folders",
        nargs="+",
        required=True,
        type=Path,
        metavar="DIR",
        help="folders of pictures in GenEval's layout, one a system",
    )
    generation.add_argument(
        "--prompts",
        metavar="00003,00017|N",
        help="prompts by their folders in the first DIR, or so many of those that all have, of "
        f"every task in turn (default: up to {ROWS})",
    )
    for kind in (recon, generation):
        kind.add_argument("--out", required=True, type=Path, metavar="FILE", help="a .png or .pdf file")


def run(args: argparse.Namespace) -> int:
    if args.out.suffix.lower() not in (".png", ".pdf"):
        raise UserError(f"--out {args.out}: a .png or .pdf file")
    if args.kind == "recon":
        reconstructions(args)
    else:
        generated(args)
    print(f"written: {args.out}")
    return 0


def reconstructions(args: argparse.Namespace) -> None:
    from reports.pictures import opened

    rows = select(args.runs, args.tokenizers, args.photographs)
    samples = choose_samples(rows, args.samples)
    heads = ["ground truth", *(_head(result) for result, _ in rows)]
    crop = _crop(args.crop)
    lines = []
    for sample in samples:
        kept = [found.by_sample[sample] for _, found in rows]
        pictures = [opened(path) for path in (kept[0].reference, *(k.path for k in kept))]
        if crop is not None:
            left, top, width, height = crop
            if left + width > pictures[0].width or top + height > pictures[0].height:
                raise UserError(
                    f"--crop {args.crop} lies outside the pictures of {pictures[0].width}x{pictures[0].height} pixels"
                )
            pictures = [p.crop((left, top, left + width, top + height)) for p in pictures]
        lines.append(Line(sample, pictures))
    grid(heads, lines, args.out)


def _head(result: ReconResult) -> str:
    tokens, bits = result.tokenizer["tokens"], result.tokenizer["bits"]
    if tokens is not None:
        return f"{result.label}\n{tokens} token{'s' * (tokens != 1)}"
    return f"{result.label}\n{bits:.0f} bits" if bits is not None else result.label


def select(
    runs: str | Path, names: Sequence[str] | None, photographs: str | None
) -> list[tuple[ReconResult, Pictures]]:
    """Rows that were made of the same prepared photographs, with their pictures.

    Of several runs of one tokenizer the one with the most pictures is taken, the first of these by folder name.

    Raises:
        UserError: a tokenizer that has no pictures, or rows of several data sets.
    """
    from lactok.evaluation.config import split_names
    from lactok.evaluation.results import load_results
    from reports.pictures import stored

    results = load_results(runs).recon
    with_pictures = [(r, p) for r in results if (p := stored(r)) is not None and p.by_sample]
    if not with_pictures:
        raise UserError(f"--runs {runs} holds no stored pictures; run python -m benchmarks.recon again to store them")
    known = sorted({p.references for _, p in with_pictures})
    if photographs is not None:
        if photographs not in known:
            raise unknown("photographs", photographs, known)
        with_pictures = [(r, p) for r, p in with_pictures if p.references == photographs]
    by_name: dict[str, tuple[ReconResult, Pictures]] = {}
    for result, found in sorted(with_pictures, key=lambda pair: (-len(pair[1].by_sample), pair[0].name)):
        by_name.setdefault(result.label, (result, found))
        by_name[result.name] = (result, found)
    if names is None:
        labels = {r.label for r, _ in with_pictures}
        rows = sorted((by_name[name] for name in labels), key=lambda pair: (_bits(pair[0]), pair[0].label))
    else:
        wanted = split_names(" ".join(names), more=", or leave it out")
        for name in wanted:
            if name not in by_name:
                raise unknown("tokenizer", name, {r.label for r, _ in with_pictures})
        rows = [by_name[name] for name in wanted]
    sets = sorted({p.references for _, p in rows})
    if len(sets) > 1:
        raise UserError(f"these rows are of several photographs or sizes; choose by --photographs: {', '.join(sets)}")
    return rows


def _bits(result: ReconResult) -> float:
    bits = result.tokenizer["bits"]
    return float("inf") if bits is None else float(bits)


def choose_samples(rows: Sequence[tuple[ReconResult, Pictures]], text: str | None) -> list[str]:
    """Sample ids by `--samples`: ids, or a number of those of which every row has a picture, chosen ones first.

    Raises:
        UserError: a row has no picture of a sample; says of which there are some, and how to store more.
    """
    first = rows[0][1].by_sample
    shared = [s for s in first if all(s in found.by_sample for _, found in rows)]
    text = text or str(max(1, min(ROWS, len(shared))))
    there = f"there are pictures of {_some(shared)}; {MORE}"
    if text.isdecimal() and text not in first:
        count = int(text)
        if count < 1 or not shared:
            raise UserError(f"--samples {text}: " + ("1 or more" if count < 1 else f"no sample in common; {MORE}"))
        if count > len(shared):
            raise UserError(f"--samples {text}: {len(shared)} have a stored picture in every row; {MORE}")
        order = sorted(shared, key=lambda s: "chosen" not in first[s].why)  # a stable sort
        return sorted(order[:count], key=shared.index)
    wanted = [text] if text in first else [s for s in text.split(",") if s]
    if not wanted:
        raise UserError("--samples is empty; name some, or write a number")
    for sample in wanted:
        for result, found in rows:
            if sample not in found.by_sample:
                raise UserError(f"no stored picture of sample {sample!r} for {result.label}: {there}")
    return wanted


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


def _crop(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(p.isdecimal() for p in parts) or int(parts[2]) < 1 or int(parts[3]) < 1:
        raise UserError(f"--crop {text}: write x,y,width,height in pixels, as in 64,64,128,128")
    left, top, width, height = map(int, parts)
    return left, top, width, height


def generated(args: argparse.Namespace) -> None:
    from benchmarks.geneval import folder
    from lactok.images import UnreadableImage

    systems: list[dict[str, Entry]] = []
    for root in args.folders:
        systems.append({})
        for entry in folder.read(root).entries:
            if entry.pictures:
                systems[-1].setdefault(entry.prompt["prompt"], entry)
    first = systems[0]
    shared = [e for text, e in first.items() if all(text in s for s in systems)]
    if not shared:
        raise UserError(f"no prompt of {args.folders[0]} has pictures in all folders")
    lines = []
    for entry in choose_prompts(list(first.values()), shared, args.prompts):
        text = entry.prompt["prompt"]
        try:
            pictures = [folder.open_picture(s[text].pictures[0])[0] for s in systems]
        except UnreadableImage as error:
            raise UserError(f"a picture of {text!r} ({entry.id}) cannot be read: {error}") from error
        lines.append(Line(text, pictures))
    grid(_titles(args.folders), lines, args.out)


def choose_prompts(all_of_first: Sequence[Entry], shared: Sequence[Entry], text: str | None) -> list[Entry]:
    """Entries of the first folder by `--prompts`: folders' names, or a number of them, of every task in turn."""
    text = text or str(min(ROWS, len(shared)))
    if text.isdecimal() and len(text) < 5:
        count = int(text)
        if not 1 <= count <= len(shared):
            raise UserError(f"--prompts {text}: between 1 and {len(shared)}, which all folders have")
        turn: dict[str, int] = {}
        order = []
        for entry in shared:
            tag = entry.prompt["tag"]
            turn[tag] = turn.get(tag, 0) + 1
            order.append((turn[tag], entry))
        picked = {e.id for _, e in sorted(order, key=lambda pair: pair[0])[:count]}
        return [e for e in shared if e.id in picked]
    found = []
    for name in (n for n in text.split(",") if n):
        named = [e for e in all_of_first if e.id == name]
        if not named:
            raise UserError(f"--prompts: no folder {name} with pictures; there are {_some([e.id for e in shared])}")
        if named[0] not in shared:
            raise UserError(
                f"--prompts: {name} ({named[0].prompt['prompt']!r}) is not in all folders; "
                f"there are {_some([e.id for e in shared])}"
            )
        found += named
    if not found:
        raise UserError("--prompts is empty; name folders such as 00003, or write a number")
    return found


def _titles(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as they were given where two are called the same."""
    names = [f.resolve().name for f in folders]
    return names if len(set(names)) == len(names) else [str(f) for f in folders]


@dataclass(frozen=True)
class Line:
    """A row of the grid: its caption, and a picture a column."""

    caption: str
    pictures: Sequence[Image]


def grid(columns: Sequence[str], lines: Sequence[Line], path: Path) -> None:
    """Draw a grid into `path`, a .png or .pdf file, the same bytes every time.

    Pixels are kept as they are: small pictures are enlarged by whole factors, larger ones than fit are shrunk; a PDF
    file holds the pictures themselves. Captions are wrapped to their column.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    width, height = (max(p.size[i] for line in lines for p in line.pictures) for i in (0, 1))
    factor: float = max(1, ceil(SMALLEST / max(width, height)))
    total = width * height * factor**2 * len(lines) * len(columns)
    factor *= min(1.0, sqrt(MOST / total))
    width, height = round(width * factor), round(height * factor)
    dpi = max(width, height) / CELL
    gap, left = round(GAP * dpi), round(LEFT * dpi)
    with style():
        font = FontProperties(family=["DejaVu Sans"], size=POINTS)
        renderer = RendererAgg(1, 1, dpi)

        def measure(text: str) -> float:
            return float(renderer.get_text_width_height_descent(text, font, False)[0])

        heads = [wrap(c, width, measure) for c in columns]
        sides = [wrap(line.caption, left - 2 * gap, measure, most=8) for line in lines]
        line_height = POINTS / 72 * LINE * dpi
        top = round(max(h.count("\n") + 1 for h in heads) * line_height) + 2 * gap
        w, h = left + len(columns) * (width + gap), top + len(lines) * (height + gap)
        figure = Figure(figsize=(w / dpi, h / dpi), dpi=dpi)
        text: dict[str, Any] = {"fontproperties": font, "linespacing": LINE}
        for i, head in enumerate(heads):
            x = left + i * (width + gap) + width / 2
            figure.text(x / w, 1 - (top - gap) / h, head, ha="center", va="bottom", **text)
        for j, (line, side) in enumerate(zip(lines, sides, strict=True)):
            y = h - top - j * (height + gap) - height
            figure.text((left - gap) / w, (y + height / 2) / h, side, ha="right", va="center", **text)
            for i, picture in enumerate(line.pictures):
                x = left + i * (width + gap)
                axes = figure.add_axes((x / w, y / h, width / w, height / h))
                axes.imshow(_fitted(picture, width, height), aspect="auto", interpolation="none", resample=False)
                axes.set_axis_off()
        save(figure, path)


def _fitted(picture: Image, width: int, height: int) -> Image:
    """Shrunk smoothly where it is larger than a cell; smaller ones are enlarged when they are drawn."""
    from PIL import Image as pil

    if picture.width <= width and picture.height <= height:
        return picture
    return picture.resize((width, height), pil.Resampling.LANCZOS)
