"""`python -m reports chd TOKENIZER` compares sets of images by the codes that a tokenizer gave them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lactok.errors import UserError, one_line, unknown

if TYPE_CHECKING:
    from lactok.evaluation.results import ReconResult

NOTES = (
    "CHD: Hellinger distance of the frequencies of codes (Jia et al. 2026), 0 to 1; at random: what the same images "
    "give, dealt at random to two sets of these sizes, mean and 95 % of 200 deals; p: of the permutation test."
)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `chd` to a parser."""
    p.add_argument("tokenizer", metavar="TOKENIZER", help="the tokenizer whose ids are compared, options after @")
    p.add_argument(
        "--reference", metavar="DATASET", help="the data set that others are compared with (default: largest)"
    )
    p.add_argument(
        "--runs", nargs="+", default=["runs"], metavar="DIR", help="folders of results, and bundles (default: runs)"
    )


def run(args: argparse.Namespace) -> int:
    """Print a table for each way of preparing images, and return 0."""
    from lactok.evaluation.results import load_results

    results = load_results(*args.runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    print("\n\n".join([*tables(results.recon, args.tokenizer, args.reference), NOTES]))
    return 0


def tables(results: Sequence[ReconResult], tokenizer: str, reference: str | None) -> list[str]:
    """Return the tables as Markdown: one for each way of preparing images and weights that two sets have in common.

    Args:
        results: all results.
        tokenizer: the tokenizer's canonical name.
        reference: the data set with which others are compared; None for the largest.

    Raises:
        UserError: there are no ids of the tokenizer, of one data set alone, or none of the reference.
    """
    own = [r for r in results if r.label == tokenizer and r.data.tokenizer.tokens is not None]
    if not own:
        raise unknown("tokenizer with ids", tokenizer, dict.fromkeys(r.label for r in results if r.data.codebook))
    if reference is not None and reference not in {r.dataset for r in own}:
        raise unknown("data set", reference, dict.fromkeys(r.dataset for r in own))
    groups: dict[str, list[ReconResult]] = {}
    for result in own:
        weights = sorted(asset.sha256 for asset in result.data.tokenizer.assets)
        key = repr((result.data.protocol.prepare, weights, result.dtype))
        if all(result.data.dataset.sha256 != other.data.dataset.sha256 for other in groups.setdefault(key, [])):
            groups[key].append(result)  # of several results of the same images the first one
    compared = [group for group in groups.values() if len(group) > 1]
    if reference is not None:
        compared = [group for group in compared if reference in {r.dataset for r in group}]
    if not compared:
        raise UserError(
            f"{tokenizer} has ids of one set of images, or they were prepared in different ways; measure another set: "
            f"python -m benchmarks.recon --tokenizers {tokenizer} --metrics psnr --dataset FOLDER"
        )
    return [_table(group, reference) for group in compared]


def _table(group: Sequence[ReconResult], reference: str | None) -> str:
    """Return the table of one group: each data set's distance to the reference."""
    from tabulate import tabulate

    from lactok.evaluation.code_histograms import code_distance
    from lactok.evaluation.id_statistics import stored_ids

    found = []
    for result in group:
        stored = stored_ids(result.folder)
        if stored is None:
            raise UserError(f"{result.name} has no tokens.npz; run the command that made it again")
        found.append((result.dataset, stored[0]))
    found.sort(key=lambda each: (each[0] != reference, -len(each[1]), each[0]))
    (name, first), others = found[0], found[1:]
    rows = []
    for dataset, ids in others:
        distance = code_distance(first, ids)
        mean, low, high = distance.at_random
        at_random = f"{mean:.4f} ({low:.4f} to {high:.4f})"
        rows.append([one_line(dataset), len(ids), f"{distance.value:.4f}", at_random, f"{distance.p:.3f}"])
    heads = ["data set", "n", f"CHD to {one_line(name)} ↓", "at random", "p"]
    protocol = group[0].data.protocol
    title = f"{group[0].label}, codes of {len(first)} images of {one_line(name)} and of others, {protocol.size_text}"
    return f"{title}\n\n{tabulate(rows, heads, tablefmt='pipe', disable_numparse=True)}"
