"""`python -m benchmarks.ablation components|tokens|steps`: what LaCTok's parts, its ids and its steps are worth.

`components` and `tokens` are Tables 4 and 5 of arXiv 2503.08377; `steps` is not in the paper: quality against time over
the sampler's steps and over the output's size, all from the same ids.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks import recon
from lactok.command import command
from lactok.errors import UserError, disk_errors

SUFFIX = {"tiny": "-tiny", "full": ""}


@dataclass(frozen=True)
class Study:
    """`rows`: label, tokenizer with `{s}` for the scale's suffix, key of the published row; `timed`: decoding too."""

    title: str
    rows: tuple[tuple[str, str, str | None], ...]
    table: str | None = None
    timed: bool = False


STUDIES = {
    "components": Study(
        "Table 4: components",
        (
            ("LlamaGen", "llamagen-vq16{s}", "llamagen"),
            ("VQ-LADD, DDIM 25 steps", "vq-ladd{s}", "vq-ladd (25-step DDIM)"),
            ("VQ-LADD + Hyper-SD, 1 step", "vq-ladd-h{s}", "vq-ladd+hypersd (1 step)"),
            ("VQ-LADD + TLCM, 3 steps", "vq-ladd-t{s}", "vq-ladd+tlcm (3 steps)"),
            ("LaCTok-H", "lactok-h{s}", "lactok-h"),
        ),
        "ablation_components_mjhq5k",
    ),
    "tokens": Study(
        "Table 5: tokens of LaCTok-H",
        (
            ("196 tokens (the paper prints 192)", "lactok-h{s}@input=224", "192"),
            ("256 tokens", "lactok-h{s}", "256"),
            ("324 tokens", "lactok-h{s}@input=288", "324"),
        ),
        "ablation_tokens_mjhq5k",
    ),
    "steps": Study(
        "Steps and output sizes, from the same ids",
        (
            ("LaCTok-H, 1 step", "lactok-h{s}", None),
            *((f"LaCTok-T, {n} step{'s' * (n > 1)}", f"lactok-t{{s}}@steps={n}", None) for n in (1, 2, 3, 4)),
            *(
                (f"LaCTok-{x.upper()}, {factor:g} x the size", f"lactok-{x}{{s}}@size={{size:{factor}}}", None)
                for x in "ht"
                for factor in (0.5, 1.5, 2)
            ),
        ),
        timed=True,
    ),
}


@lru_cache(maxsize=1)
def published() -> dict[str, Any]:
    """The papers' numbers, with their source."""
    return json.loads((Path(__file__).parent / "published.json").read_text())


class _Size:
    """Formats `{size:1.5}` as that multiple of a tokenizer's own output size."""

    def __init__(self, size: int):
        self.size = size

    def __format__(self, factor: str) -> str:
        return str(round(self.size * float(factor)))


def names(study: Study, scale: str) -> list[str]:
    """The study's tokenizers, canonical names, in its order."""
    from lactok import registry

    size = _Size(registry.info(f"lactok-h{SUFFIX[scale]}").output_size or 0)
    return [registry.info(name.format(s=SUFFIX[scale], size=size)).name for _, name, _ in study.rows]


def decode_seconds(name: str, device: str, dtype: str, repeats: int = 5) -> float:
    """Median seconds to decode one picture, after one to warm up."""
    import statistics
    import time

    import torch

    import lactok
    from lactok.device import synchronize

    tokenizer = lactok.load(name, device, getattr(torch, dtype))
    ids = torch.zeros(1, tokenizer.info.tokens or 0, dtype=torch.int64)
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        tokenizer.decode(ids)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def table(study: Study, found: dict[str, dict[str, Any]], order: Sequence[str], seconds: dict[str, float]) -> str:
    """Markdown: a row a variant, measured metrics, decode time where it was taken, the published row beside."""
    from tabulate import tabulate

    from benchmarks.protocol import METRICS
    from benchmarks.table import TITLES, cell

    metrics = [m for m in METRICS if any(m in r["metrics"] for r in found.values())]
    printed = published().get(study.table or "", {})
    columns = printed.get("columns", [])
    head = ["variant", "tokenizer", "tokens", *(f"{TITLES[m]} {'↑' if METRICS[m] else '↓'}" for m in metrics)]
    head += ["decode s"] * bool(seconds) + [f"paper {c}" for c in columns]
    body = []
    for (label, _, key), name in zip(study.rows, order, strict=True):
        result = found.get(name)
        row = [label, name, str(result["tokenizer"]["tokens"]) if result else "not run"]
        row += [cell(m, result["metrics"].get(m)) if result else "-" for m in metrics]
        row += [f"{seconds[name]:.3f}" if name in seconds else "-"] * bool(seconds)
        body.append([*row, *(f"{v:g}" for v in (printed[key] if key else []))])
    return str(tabulate(body, head, tablefmt="pipe", disable_numparse=True)) + "\n"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description="Ablations of LaCTok: " + "; ".join(
            f"{name}: {study.title}" for name, study in STUDIES.items()
        ),
    )  # fmt: skip
    p.add_argument("study", choices=list(STUDIES))
    p.add_argument(
        "--scale", choices=list(SUFFIX), default="tiny",
        help="tiny: the models that this package ships; full: the paper's, whose weights must be had (%(default)s)",
    )  # fmt: skip
    recon.run_options(p)
    p.add_argument("--strict", action="store_true", help="exit with 3 if any variant lacks its weights")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    study = STUDIES[args.study]
    if args.part:
        raise UserError("--part: an ablation is a table of finished rows; run the parts by benchmarks.recon first")
    order = names(study, args.scale)
    dataset, run = recon.configure(args)
    rows, missing, failed = recon.available(order)
    found = {r["tokenizer"]["name"]: r for r in recon.run_rows(rows, dataset, run, args, failed)}
    seconds = {name: decode_seconds(name, args.device, args.dtype) for name in found} if study.timed else {}
    text = table(study, found, order, seconds)
    print(f"\n{study.title}; {args.scale} models; {dataset.name}: {len(dataset.samples)} images, protocol "
          f"{run.protocol.name} at {run.protocol.prepare.resolution} px\n\n{text}")  # fmt: skip
    if study.table:
        print("The paper's columns: MJHQ-5K at 1024 px with the full models; its LPIPS network is not named.")
    out = Path(args.out) / f"ablation-{args.study}-{args.scale}.md"
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    print(f"written: {out}")
    for name, reason in missing.items():
        print(f"not run: {name}: {reason}")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 3 if failed or (missing and (args.strict or not found)) else 0


if __name__ == "__main__":
    main()
