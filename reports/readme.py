"""`python -m reports readme` writes README.md's table and `docs/table.svg` from the results kept in `docs/sample-run`.

These are the `result.json` files of README's first command, a few kilobytes for each tokenizer. They hold the digests
of the weights and the hashes of the protocol, by which a test tells whether they are stale. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError, disk_errors
from lactok.files import write_atomically

if TYPE_CHECKING:
    from lactok.evaluation.results import ReconResult

PROTOCOL = "square-256"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
ROOT = Path(__file__).parents[1]


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `readme` to a parser."""
    p.add_argument("--runs", help="a run of `tox -e recon`, whose results are kept anew (default: those kept before)")
    p.add_argument("--check", action="store_true", help="write nothing; exit with 2 if README's table is not this one")
    p.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Write README.md's table and the picture, or check them, and return 0.

    Raises:
        UserError: with --check, a file is not what the kept results give.
    """
    if args.check and args.runs:
        raise UserError("--runs does not go with --check, which keeps no new results; leave one of them out")
    root: Path = args.root
    with disk_errors(root):
        if args.runs:
            keep(Path(args.runs), root)
        results = load_kept(root)
        for path, text in rendered_files(root, results).items():
            if args.check and (not path.is_file() or path.read_text() != text):
                raise UserError(f"{path.name} is not what the kept results give; run `python -m reports readme`")
            if not args.check:
                write_atomically(path, text.encode())
    print(f"{'unchanged' if args.check else 'written'}: README.md and docs/table.svg, {len(results)} rows")
    return 0


def keep(runs: Path, root: Path) -> None:
    """Replace the kept results by those of `runs` on the whole sample set in float32 with the seed 0.

    Raises:
        UserError: there are no such results.
    """
    from lactok.evaluation import protocol
    from lactok.evaluation.results import load_results
    from lactok.evaluation.store import folder_safe

    chosen = protocol.get(PROTOCOL)
    wanted = ("sample", chosen.prepare_hash, chosen.score_hash, None, "float32", 0)
    found: dict[str, ReconResult] = {}
    for r in load_results(runs).recon:
        p = r.data.protocol
        if (r.dataset, p.prepare, p.score, r.limit, r.dtype, r.seed) == wanted:
            found.setdefault(folder_safe(r.label), r)
    if not found:
        raise UserError(f"{runs} has no sample run of today's {PROTOCOL}; make one with `python -m tox -e recon`")
    folder = root / "docs" / "sample-run"
    shutil.rmtree(folder, ignore_errors=True)
    for name, result in found.items():
        place = folder / name
        place.mkdir(parents=True)
        shutil.copyfile(result.folder / "result.json", place / "result.json")


def load_kept(root: Path) -> list[ReconResult]:
    """Return the kept results, in the order in which tokenizers are listed.

    Raises:
        UserError: no results are kept, or one is damaged.
    """
    from lactok import registry
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import ReconResult, load

    results = []
    for path in sorted((root / "docs" / "sample-run").glob("*/result.json")):
        try:
            result = load(path.parent)
        except Damaged as error:
            raise UserError(f"docs/sample-run/{path.parent.name}: {error}; keep a run anew") from error
        if isinstance(result, ReconResult):
            results.append(result)
    if not results:
        raise UserError("docs/sample-run is empty; fill it with `python -m reports readme --runs runs`")
    order = {name: i for i, name in enumerate(registry.list_tokenizers())}
    return sorted(results, key=lambda r: order.get(r.label, len(order)))


def rendered_files(root: Path, results: Sequence[ReconResult]) -> dict[Path, str]:
    """Return the text of README.md and of docs/table.svg, by path.

    Raises:
        UserError: README.md lacks the lines between which the table stands.
    """
    from lactok.evaluation.table import markdown, svg

    readme = root / "README.md"
    text = readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"README.md has no place for the table: write {BEGIN} and {END} on lines of their own")
    picture = svg(results, f"{results[0].dataset}, {PROTOCOL}")
    return {
        readme: f"{before}{BEGIN}\n{markdown(results)}{END}{after}",
        root / "docs" / "table.svg": picture,
    }
