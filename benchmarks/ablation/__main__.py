"""`python -m benchmarks.ablation components|tokens|steps`: what LaCTok's parts, its ids and its steps are worth.

`components` and `tokens` are Tables 4 and 5 of arXiv 2503.08377; `steps` is not in the paper: quality against time over
the sampler's steps and over the output's size, all from the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import published
from benchmarks.ablation.studies import STUDIES, SUFFIX, Study, names
from benchmarks.recon import __main__ as recon
from lactok.command import Parser, command
from lactok.errors import UserError, disk_errors


def decode_seconds(name: str, device: str, dtype: str) -> float:
    """Median seconds to decode one picture."""
    import torch

    import lactok
    from benchmarks.speed.__main__ import median_seconds

    tokenizer = lactok.load(name, device, getattr(torch, dtype))
    ids = torch.zeros(1, tokenizer.spec.tokens or 0, dtype=torch.int64)
    return median_seconds(lambda: tokenizer.decode(ids), 5, device)


def table(study: Study, found: dict[str, dict[str, Any]], order: Sequence[str], seconds: dict[str, float]) -> str:
    """Markdown: a row a variant, measured metrics, decode time where it was taken, the published row beside."""
    from tabulate import tabulate

    from lactok.evaluation.protocol import METRICS
    from lactok.evaluation.table import TITLES, cell

    metrics = [m for m in METRICS if any(m in r["metrics"] for r in found.values())]
    printed = published.table(study.table) if study.table else None
    columns = printed.columns if printed else ()
    head = ["variant", "tokenizer", "tokens", *(f"{TITLES[m]} {'↑' if METRICS[m] else '↓'}" for m in metrics)]
    head += ["decode s"] * bool(seconds) + [f"paper {c}" for c in columns]
    body = []
    for variant, name in zip(study.rows, order, strict=True):
        result = found.get(name)
        row = [variant.label, name, str(result["tokenizer"]["tokens"]) if result else "not run"]
        row += [cell(m, result["metrics"].get(m)) if result else "-" for m in metrics]
        row += [f"{seconds[name]:.3f}" if name in seconds else "-"] * bool(seconds)
        beside = printed.rows[variant.published] if printed and variant.published else {}
        body.append([*row, *("-" if v is None else f"{v:g}" for v in beside.values())])
    return str(tabulate(body, head, tablefmt="pipe", disable_numparse=True)) + "\n"


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.ablation", description="Ablations of LaCTok: " + "; ".join(
            f"{name}: {study.title}" for name, study in STUDIES.items()
        ),
    )  # fmt: skip
    p.add_argument("study", choices=list(STUDIES))
    p.add_argument(
        "--scale", choices=list(SUFFIX), default="tiny",
        help="tiny: the small models of the recipes here; full: the paper's size (%(default)s)",
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
    return recon.exit_code(missing, failed, args.strict or not found)


if __name__ == "__main__":
    main()
