"""Results as a table: Markdown, and the same on the terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from lactok.evaluation.protocol import METRICS

TITLES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ssim_uniform7": "SSIM 7x7",
    "ssim_range2": "SSIM range 2",
    "lpips_alex": "LPIPS alex",
    "lpips_vgg": "LPIPS vgg",
    "rfid": "rFID",
    "rfid_clean": "rFID clean",
    "kid": "KID x1000",
}
DIGITS = {"psnr": 2, "fid": 2, "rfid": 2, "rfid_clean": 2, "kid": 1}


def cell(metric: str, entry: dict[str, Any] | None) -> str:
    """A value with half the width of its interval; `~` before a distance from too few images."""
    if entry is None or entry["value"] is None:
        return "-"
    factor, digits = (1000 if metric == "kid" else 1), DIGITS.get(metric, 3)
    text = f"{entry['value'] * factor:.{digits}f}"
    if entry.get("ci95"):
        low, high = entry["ci95"]
        text += f" ±{(high - low) / 2:.{digits}f}"
    return f"~{text}" if entry.get("reliable") is False else text


def cells(results: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]], list[str]]:
    """Heads with arrows for the better direction, a row a result, footnotes for what a reader must know."""
    metrics = [m for m in METRICS if any(m in r["metrics"] for r in results)]
    head = ["tokenizer", "tokens", "codes", "bits", *(f"{TITLES[m]} {'↑' if METRICS[m] else '↓'}" for m in metrics)]
    head += ["usage", "n"]
    rows, over = [], False
    for r in results:
        info, codebook = r["tokenizer"], r["codebook"]
        bits = "-" if info["bits"] is None else f"{info['bits']:.0f}"
        if info.get("over_budget"):
            bits, over = f"{bits}*", True
        row = [info["name"], str(info["tokens"] or "-"), str(info["codebook_size"] or "-"), bits]
        row += [cell(m, r["metrics"].get(m)) for m in metrics]
        rows.append([*row, f"{codebook['usage']:.0%}" if codebook else "-", str(r["dataset"]["n"])])
    notes = ["± is half the 95 % bootstrap interval of the mean over images."]
    if any(e.get("reliable") is False for r in results for e in r["metrics"].values()):
        notes.append("~ rFID of fewer than 2049 images is biased upwards and not comparable with published numbers.")
    if any(r["tokenizer"]["name"].partition("@")[0].endswith("-tiny") for r in results):
        notes.append(
            "-tiny: trained here on 900 photographs, a demonstration, no ranking of the methods; the official models: "
            "python -m benchmarks.recon --tokenizers all, or by name."
        )
    if over:
        notes.append("* above the budget: for some images no file is that small.")
    return head, rows, notes


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The table as Markdown."""
    head, rows, notes = cells(results)
    align = ["left"] + ["right"] * (len(head) - 1)
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return text + "\n\n" + "\n".join(notes) + "\n"


def svg(results: Sequence[dict[str, Any]], title: str) -> str:
    """The table as a picture that needs no font from elsewhere."""
    from rich.console import Console
    from rich.table import Table

    head, rows, notes = cells(results)
    table = Table(box=None, padding=(0, 1), caption="\n".join(notes), caption_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    width = 4 + sum(2 + max(len(head[i]), *(len(r[i]) for r in rows)) for i in range(len(head)))
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(table)
    drawn = console.export_svg(title=title, unique_id="table")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S).replace("Fira Code", "ui-monospace")
