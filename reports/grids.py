"""`python -m reports grid` draws a grid of pictures for a paper, with captions above and at the left."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import MissingFile, UserError, check_output_file, integer, unknown, whole
from lactok.files import is_folder
from lactok.outside_text import shown
from reports.sheet import GridRow, grid

if TYPE_CHECKING:
    from PIL.Image import Image

    from benchmarks.geneval.folder import Entry
    from lactok.evaluation.results import ReconResult
    from reports.pictures import StoredPictures

DEFAULT_ROWS = 4  # at most so many samples or prompts where none are named
HOW_TO_STORE_MORE = "python -m benchmarks.recon --pictures all, with the options of the run, stores every sample's"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `grid` to a parser."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="recon|generation")
    recon = kinds.add_parser("recon", help="a row a sample: the photograph and what each tokenizer made of it")
    recon.add_argument("--runs", default="runs", metavar="DIR", help="stored results (default: %(default)s)")
    recon.add_argument(
        "--samples",
        metavar="a,b,...|N",
        help=f"samples by id, or so many of those that all have (default: up to {DEFAULT_ROWS})",
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
        help="folders of pictures in GenEval's layout, one a system; of one alone, a row a task",
    )
    generation.add_argument(
        "--prompts",
        metavar="00003,00017|N",
        help="prompts by their folders in the first DIR, or so many of those that all have, of "
        f"every task in turn (default: up to {DEFAULT_ROWS})",
    )
    for kind in (recon, generation):
        kind.add_argument("--out", required=True, type=Path, metavar="FILE", help="a .png or .pdf file")


def run(args: argparse.Namespace) -> int:
    """Draw the grid and return 0."""
    if args.out.suffix.lower() not in (".png", ".pdf"):
        raise UserError(f"--out {args.out}: a .png or .pdf file")
    check_output_file("out", args.out)
    if args.kind == "recon":
        reconstructions(args)
    else:
        generated(args)
    print(f"written: {args.out}")
    return 0


def reconstructions(args: argparse.Namespace) -> None:
    """Draw the grid of `grid recon`."""
    rows = select(args.runs, args.tokenizers, args.photographs)
    draw(rows, choose_samples(rows, args.samples), args.crop, args.out)


def draw(
    rows: Sequence[tuple[ReconResult, StoredPictures]], samples: Sequence[str], window: str | None, path: Path
) -> None:
    """Draw a grid with a row for each sample: the photograph and what each tokenizer made of it.

    Args:
        rows: the runs with their pictures, in the order of the columns.
        samples: the samples by id.
        window: `--crop`, None for whole pictures.
        path: the .png or .pdf file.
    """
    from reports.pictures import open_picture

    heads = ["ground truth", *(_column_head(result) for result, _ in rows)]
    crop = _crop(window)
    grid_rows = []
    for sample in samples:
        stored = [found.by_sample[sample] for _, found in rows]
        pictures = [open_picture(stored[0].reference), *(open_picture(picture.path) for picture in stored)]
        if crop is not None:
            left, top, width, height = crop
            if left + width > pictures[0].width or top + height > pictures[0].height:
                raise UserError(
                    f"--crop {window} lies outside the pictures of {pictures[0].width}x{pictures[0].height} pixels"
                )
            pictures = [p.crop((left, top, left + width, top + height)) for p in pictures]
        grid_rows.append(GridRow(sample, pictures))
    grid(heads, grid_rows, path)


def _column_head(result: ReconResult) -> str:
    """Return a column's caption: the tokenizer's name and its tokens, or its bits where it has no ids."""
    tokens, bits = result.tokenizer["tokens"], result.tokenizer["bits"]
    if tokens is not None:
        unit = "token" if tokens == 1 else "tokens"
        return f"{result.label}\n{tokens} {unit}"
    if bits is not None:
        return f"{result.label}\n{bits:.0f} bits"
    return result.label


def select(
    runs: str | Path, names: Sequence[str] | None, photographs: str | None
) -> list[tuple[ReconResult, StoredPictures]]:
    """Choose runs of the same prepared photographs that have stored pictures.

    Args:
        runs: the folder of results.
        names: tokenizers or result folders, in the order of the columns; None for all tokenizers, by bits. Of several
            runs of a tokenizer, the one with the most pictures is taken, and of these the first by folder name.
        photographs: the photographs' folder in references/, or None where there is one alone.

    Raises:
        UserError: a tokenizer has no pictures, or the runs are of different photographs.
    """
    from lactok.evaluation.config import split_names
    from lactok.evaluation.results import load_results
    from reports.pictures import stored_pictures

    with_pictures = []
    for result in load_results(runs).recon:
        stored = stored_pictures(result)
        if stored is not None and stored.by_sample:
            with_pictures.append((result, stored))
    if not with_pictures:
        raise UserError(f"--runs {runs} holds no stored pictures; run python -m benchmarks.recon again to store them")
    known = sorted({p.references for _, p in with_pictures})
    if photographs is not None:
        if photographs not in known:
            raise unknown("photographs", photographs, known)
        with_pictures = [(r, p) for r, p in with_pictures if p.references == photographs]
    by_name: dict[str, tuple[ReconResult, StoredPictures]] = {}
    for result, found in sorted(with_pictures, key=lambda pair: (-len(pair[1].by_sample), pair[0].name)):
        by_name.setdefault(result.label, (result, found))
        by_name[result.name] = (result, found)
    if names is None:
        labels = {r.label for r, _ in with_pictures}
        rows = sorted((by_name[name] for name in labels), key=lambda pair: (bits(pair[0]), pair[0].label))
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


def bits(result: ReconResult) -> float:
    """Return a tokenizer's bits for each image for sorting, infinity where they are unknown."""
    known = result.tokenizer["bits"]
    return float("inf") if known is None else float(known)


def choose_samples(rows: Sequence[tuple[ReconResult, StoredPictures]], text: str | None) -> list[str]:
    """Return the ids of the samples to show.

    Args:
        rows: the runs with their pictures.
        text: `--samples`: ids, or a number of samples of which every row has a picture; those that were chosen before
            the run are taken before the best and the worst ones. None for the default number.

    Raises:
        UserError: a row has no picture of a sample; the message says of which there are some and how to store more.
    """
    first = rows[0][1].by_sample
    shared = [
        s
        for s, picture in first.items()
        if picture.reference.is_file() and all(s in f.by_sample and f.by_sample[s].path.is_file() for _, f in rows)
    ]
    text = text or str(max(1, min(DEFAULT_ROWS, len(shared))))
    available = f"there are pictures of {_some(shared)}; {HOW_TO_STORE_MORE}"
    if _is_number(text) and text not in first:
        count = whole("samples", integer(text), 1)
        if not shared:
            raise UserError(f"--samples {text}: no sample in common; {HOW_TO_STORE_MORE}")
        if count > len(shared):
            raise UserError(f"--samples {text}: {len(shared)} have a stored picture in every row; {HOW_TO_STORE_MORE}")
        order = sorted(shared, key=lambda s: "chosen" not in first[s].why)  # chosen ones first
        return sorted(order[:count], key=shared.index)
    wanted = [text] if text in first else [s for s in text.split(",") if s]
    if not wanted:
        raise UserError("--samples is empty; name some, or write a number")
    for sample in wanted:
        for result, found in rows:
            if sample not in found.by_sample:
                raise UserError(f"no stored picture of sample {sample!r} for {result.label}: {available}")
    return wanted


def _some(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names in words, and how many more there are."""
    if not names:
        return "none"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _crop(text: str | None) -> tuple[int, int, int, int] | None:
    """Return left, top, width and height in pixels of `--crop`, or None; raise UserError for anything else."""
    if text is None:
        return None
    parts = [int(part) for part in text.split(",") if _is_number(part)]
    if len(parts) != 4 or text.count(",") != 3 or parts[2] < 1 or parts[3] < 1:
        raise UserError(f"--crop {text[:40]}: write x,y,width,height in pixels, as in 64,64,128,128")
    left, top, width, height = parts
    return left, top, width, height


def _is_number(text: str) -> bool:
    """Return whether a text is a whole number in plain digits, 0 or more."""
    return re.fullmatch("[0-9]{1,18}", text) is not None


def generated(args: argparse.Namespace) -> None:
    """Draw the grid of `grid generation`: a row for each prompt, the first picture of each system.

    Pictures of one system stand in a row for each of GenEval's tasks, with the prompts below.
    """
    from benchmarks.geneval import folder
    from lactok.images import UnreadableImage

    systems: list[dict[str, Entry]] = []  # for each folder its entries by prompt
    for root in args.folders:
        if not is_folder(root):
            raise MissingFile(f"--folders {shown(root, 200)}: no such folder")
        by_prompt: dict[str, Entry] = {}
        for entry in folder.read(root).entries:
            if entry.pictures:
                by_prompt.setdefault(entry.prompt["prompt"], entry)
        systems.append(by_prompt)
    first = systems[0]
    shared = [e for text, e in first.items() if all(text in s for s in systems)]
    if not shared:
        raise UserError(f"no prompt of {args.folders[0]} has pictures in all folders")
    grid_rows = []
    of_tasks: dict[str, tuple[list[Image], list[str]]] = {}  # pictures and prompts
    for entry in choose_prompts(list(first.values()), shared, args.prompts):
        text = entry.prompt["prompt"]
        try:
            pictures = [folder.open_picture(s[text].pictures[0])[0] for s in systems]
        except UnreadableImage as error:
            raise UserError(f"a picture of {text!r} ({entry.id}) cannot be read: {error}") from error
        grid_rows.append(GridRow(text, pictures))
        of_task = of_tasks.setdefault(entry.prompt["tag"], ([], []))
        of_task[0].append(pictures[0])
        of_task[1].append(text)
    if len(systems) == 1:
        grid_rows = [GridRow(task.replace("_", " "), *of_task) for task, of_task in of_tasks.items()]
        grid([""] * max(len(row.pictures) for row in grid_rows), grid_rows, args.out)
    else:
        grid(_titles(args.folders), grid_rows, args.out)


def choose_prompts(all_of_first: Sequence[Entry], shared: Sequence[Entry], text: str | None) -> list[Entry]:
    """Return the entries of the prompts to show.

    Args:
        all_of_first: all entries of the first folder that have pictures.
        shared: those of them whose prompts have pictures in all folders.
        text: `--prompts`: names of the first folder's subfolders, or a number of shared entries, chosen from every task
            in turn. None for the default number.

    Raises:
        UserError: a prompt is unknown or has no picture in a folder.
    """
    text = text or str(min(DEFAULT_ROWS, len(shared)))
    if _is_number(text) and len(text) < 5:
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
    """Return the folders' names, or their paths as given where two have the same name."""
    names = [f.resolve().name for f in folders]
    return names if len(set(names)) == len(names) else [str(f) for f in folders]
