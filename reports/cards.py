"""`python -m reports cards` writes the tables of the model cards, which stand beside the shipped weights.

What they are made of is kept in `docs/cards`: `runs/NAME/result.json` of the reconstruction suite on held-out
photographs, or of GenEval on a generator's pictures, and `curves/NAME.jsonl`, what a training found on its held-out
data. A table stands between two lines of a card:

    <!-- files vae-tiny ldm-tiny: begin -->       names, parameters, bytes and sha256 of weight files
    <!-- results lactok-h-tiny resize-8: begin --> the kept results of these tokenizers, in this order
    <!-- curves vae-tiny: begin -->               the curves of these trainings
    <!-- verdicts lactokgen-tiny: begin -->       GenEval's verdicts on pictures of these generators, as kept

and `<!-- files: end -->`, `<!-- results: end -->` and so on. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import UserError, disk_errors
from lactok.files import write_atomically

if TYPE_CHECKING:
    from lactok.evaluation.results import Result
    from lactok.evaluation.schema import Entry

ROOT = Path(__file__).parents[1]
CARDS = Path("lactok/bundled")
KEPT = Path("docs/cards")
PLACE = re.compile(
    r"(?P<begin><!-- (?P<kind>files|results|curves|verdicts) (?P<names>[^:]*): begin -->\n)"
    r".*?(?P<end><!-- (?P=kind): end -->)",
    re.DOTALL,
)
R = TypeVar("R", bound="Result")
HELD_OUT = "held_out_"  # before the keys of an evaluation in a curve


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `cards` to a parser."""
    p.add_argument("--runs", type=Path, help="results whose tables are kept anew (default: those kept before)")
    p.add_argument("--trainings", type=Path, help="a folder of trainings, whose curves are kept anew, by their names")
    p.add_argument("--check", action="store_true", help="write nothing; exit with 2 if a card is not what it gives")
    p.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Write the tables of all cards, or check them, and return 0.

    Raises:
        UserError: something that a card asks for is not kept; or with --check, a card is not what the kept files give.
    """
    if args.check and (args.runs or args.trainings):
        raise UserError("--check keeps nothing new; leave --runs and --trainings out")
    root: Path = args.root
    with disk_errors(root):
        if args.runs:
            keep_results(args.runs, root)
        if args.trainings:
            keep_curves(args.trainings, root)
        cards = rendered_cards(root)
        for path, text in cards.items():
            if args.check and path.read_text(encoding="utf-8") != text:
                raise UserError(f"{path.name} is not what {KEPT} gives; run `python -m reports cards`")
            if not args.check:
                write_atomically(path, text.encode())
    print(f"{'unchanged' if args.check else 'written'}: {', '.join(path.name for path in cards)}")
    return 0


def asked(root: Path, kind: str) -> set[str]:
    """Return the names that the cards ask for in their places of a kind."""
    texts = [path.read_text(encoding="utf-8") for path in (root / CARDS).glob("*.md")]
    places = [place for text in texts for place in PLACE.finditer(text)]
    return {name for place in places if place["kind"] == kind for name in place["names"].split()}


def keep_results(runs: Path, root: Path) -> None:
    """Replace the kept results by those of `runs`, of the tokenizers and generators that cards ask for.

    Raises:
        UserError: there are none of these, or one was measured in more than one way.
    """
    from lactok.evaluation.results import load_results
    from lactok.evaluation.store import folder_safe

    wanted = asked(root, "results") | asked(root, "verdicts")
    found: dict[str, Path] = {}
    results = load_results(runs)
    for result in [*results.recon, *results.geneval]:
        if result.label in wanted:
            if result.label in found:
                raise UserError(f"{runs} has two results of {result.label}; leave the one that the card shows")
            found[result.label] = result.folder / "result.json"
    if not found:
        raise UserError(f"{runs} has no result of {', '.join(sorted(wanted)) or 'any card'}")
    for name, path in found.items():
        place = root / KEPT / "runs" / folder_safe(name)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / "result.json")


def keep_curves(trainings: Path, root: Path) -> None:
    """Replace the kept curves by those of the trainings in a folder: their evaluations on held-out photographs.

    Raises:
        UserError: no training that a card asks for is there.
    """
    wanted = sorted(asked(root, "curves"))
    found = {name: trainings / name / "curve.jsonl" for name in wanted}
    found = {name: path for name, path in found.items() if path.is_file()}
    if not found:
        raise UserError(f"{trainings} has no training of {', '.join(wanted) or 'any card'}")
    for name, path in found.items():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [row for row in rows if any(key.startswith(HELD_OUT) for key in row)]
        text = "".join(f"{json.dumps(row)}\n" for row in kept)
        write_atomically(root / KEPT / "curves" / f"{name}.jsonl", text.encode())


def rendered_cards(root: Path) -> dict[Path, str]:
    """Return the text of every card that has a place for a table, by its path."""

    def filled(place: re.Match[str]) -> str:
        return f"{place['begin']}{TABLES[place['kind']](root, place['names'].split())}{place['end']}"

    cards = {}
    for path in sorted((root / CARDS).glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if PLACE.search(text):
            cards[path] = PLACE.sub(filled, text)
    return cards


def files_table(root: Path, names: Sequence[str]) -> str:
    """Return the table of weight files: what each holds, as its header and its bytes say."""
    rows = []
    for name in names:
        path = root / CARDS / f"{name}.safetensors"
        if not path.is_file():
            raise UserError(f"there are no weights {path.name} for the card's table")
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors = [entry for key, entry in header.items() if key != "__metadata__"]
        count = sum(math.prod(entry["shape"]) for entry in tensors)
        kind = "int8" if any(entry["dtype"] == "I8" for entry in tensors) else "fp16"  # see lactok.weights.packing
        digest = hashlib.sha256(content).hexdigest()
        rows.append([f"`{name}`", f"{count / 1e6:.2f} M", kind, f"{len(content):,}", f"`{digest}`"])
    return _markdown(["file", "numbers", "as", "bytes", "sha256"], rows)


def results_table(root: Path, names: Sequence[str]) -> str:
    """Return the table of the kept results of these tokenizers, with its footnotes."""
    from lactok.evaluation.results import ReconResult
    from lactok.evaluation.table import markdown

    return markdown([kept(root, name, ReconResult) for name in names])


def verdicts_table(root: Path, names: Sequence[str]) -> str:
    """Return the table of the kept GenEval results of these generators: per cent of pictures and its 95 % interval."""
    from lactok.evaluation.results import GenEvalResult

    results = [kept(root, name, GenEvalResult) for name in names]
    columns = [*results[0].data.tasks, "overall"]
    rows = [[f"`{result.label}`", *(_percent(result[column]) for column in columns)] for result in results]
    return _markdown(["generator", *columns], rows)


def kept(root: Path, name: str, kind: type[R]) -> R:
    """Return the kept result of a tokenizer or generator.

    Raises:
        UserError: there is none, it is damaged, or of another suite.
    """
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import load
    from lactok.evaluation.store import folder_safe

    folder = root / KEPT / "runs" / folder_safe(name)
    try:
        result = load(folder)
    except (Damaged, OSError) as error:
        raise UserError(f"{folder}: {error}; keep a run anew with `python -m reports cards --runs DIR`") from error
    if not isinstance(result, kind):
        raise UserError(f"{folder} holds a result of {result.suite}; name {name} in a place of another kind")
    return result


def _percent(measured: Entry) -> str:
    shown = "-" if measured.value is None else f"{100 * measured.value:.0f} %"
    if measured.ci95 is None:
        return shown
    low, high = measured.ci95
    return f"{shown} ({100 * low:.0f} to {100 * high:.0f})"


def curves_table(root: Path, names: Sequence[str]) -> str:
    """Return the table of what trainings found on their held-out photographs, at one step after the other."""
    rows: list[dict[str, Any]] = []
    for name in names:
        path = root / KEPT / "curves" / f"{name}.jsonl"
        if not path.is_file():
            raise UserError(f"{path} is missing; keep it with `python -m reports cards --trainings DIR`")
        for line in path.read_text(encoding="utf-8").splitlines():
            values = {k.removeprefix(HELD_OUT): v for k, v in json.loads(line).items()}
            rows.append({"training": f"`{name}`", "step": values.pop("step") + 1} | values)
    head = list(dict.fromkeys(key for row in rows for key in row))
    return _markdown(head, [[_short(row.get(key, "")) for key in head] for row in rows])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    align = ["left"] + ["right"] * (len(head) - 1)
    return str(tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align)) + "\n"


TABLES = {"files": files_table, "results": results_table, "curves": curves_table, "verdicts": verdicts_table}
