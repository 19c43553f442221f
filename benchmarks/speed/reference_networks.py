"""`python -m benchmarks.speed.reference_networks` times every family's network against its plainest faithful version.

The plain version computes attention as two matrix products and a softmax, in float32, one image after the other, for
every register token and every position. It gives the same ids and, up to rounding, the same pixels, as the tests check.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.measure import write_numbers
from lactok.command import Parser, command
from lactok.errors import check_output_file, integer, unknown, whole

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.tokenizer import Tokenizer

# row -> the tokenizer, with fewer steps where all of them would take a CPU an hour, and a remark for the table
ROWS = {
    "llamagen": ("llamagen-vq16", ""),
    "vqgan": ("vqgan-f16-16384", ""),
    "maskgit-vqgan": ("maskgit-vqgan-f16", ""),
    "titok": ("titok-s128", ""),
    "flextok": ("flextok-d12-d12@steps=4", "4 of 20 steps"),
    "flextok, 32 ids": ("flextok-d12-d12@tokens=32,steps=4", "4 of 20 steps"),
    "seedtok": ("seedtok-2@steps=4", "4 of 20 steps, 192 px instead of 768"),
}


def unfused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute `torch.nn.functional.scaled_dot_product_attention` step by step: q (..., L, D), k and v (..., S, D)."""
    import torch

    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ v


@contextmanager
def plain(tokenizer: Tokenizer) -> Iterator[None]:
    """Within this context the tokenizer computes the plain version; the caller gives it one image at a time."""
    from unittest.mock import patch

    from lactok.nn import flextok, titok

    forward = titok.Block.forward

    def every_position(block: titok.Block, x: Tensor, keep: slice = slice(None)) -> Tensor:
        return forward(block, x)[:, keep]

    flextok_models = [m for m in tokenizer.modules() if isinstance(m, flextok.FlexTok)]
    with (
        patch("torch.nn.functional.scaled_dot_product_attention", unfused_attention),
        patch.object(titok.Block, "forward", every_position),
    ):
        for model in flextok_models:
            model.merge = False
        try:
            yield
        finally:
            for model in flextok_models:
                model.merge = True


def build(name: str) -> Tokenizer:
    """Build a full-size tokenizer with random weights; SeedTok's decoder gives 192 px, in a minute instead of hours."""
    from dataclasses import replace

    import torch

    from lactok import registry
    from lactok.nn.unclip import UNET, UnCLIPConfig

    torch.manual_seed(0)
    entry = registry.TOKENIZERS.entry(name)
    if entry.spec.family == "seedtok":
        entry = replace(entry, arguments={"unclip": UnCLIPConfig(unet={**UNET, "sample_size": 24})})
    return entry.create().eval().requires_grad_(False)


# variant -> whether it is the plain version, how many images at once (0: all), the compute dtype
VARIANTS: dict[str, tuple[bool, int, str]] = {
    "plain": (True, 1, "float32"),
    "fast": (False, 0, "float32"),
    "fast, one by one": (False, 1, "float32"),
    "bfloat16, one by one": (False, 1, "bfloat16"),
}


def run(tokenizer: Tokenizer, call: Callable[[Tensor], Tensor], batch: Tensor, variant: str) -> tuple[Tensor, float]:
    """Compute one variant of `call` for a batch; return its output and the seconds an image, after one to warm up."""
    import time

    import torch

    is_plain, at_once, dtype = VARIANTS[variant]
    tokenizer.dtype = getattr(torch, dtype)
    with plain(tokenizer) if is_plain else nullcontext():
        call(batch[:1])
        started = time.perf_counter()
        out = torch.cat([call(part) for part in batch.split(at_once or len(batch))])
        seconds = (time.perf_counter() - started) / len(batch)
    tokenizer.dtype = torch.float32
    return out, seconds


def measure(name: str, batch_size: int) -> dict[str, Any]:
    """Measure every variant of a tokenizer: seconds an image, and how much the output differs from the plain one's."""
    import torch

    tokenizer = build(name)
    size = tokenizer.spec.input_size or 256
    images = torch.rand(batch_size, 3, size, size, generator=torch.Generator().manual_seed(0))
    ids = tokenizer.encode(images)
    row: dict[str, Any] = {"tokenizer": name}
    for step, call, batch in (("encode", tokenizer.encode, images), ("decode", tokenizer.decode, ids)):
        expected = None
        for variant in VARIANTS:
            out, seconds = run(tokenizer, call, batch, variant)
            expected = out if expected is None else expected
            row[f"{step}, {variant}"] = {"seconds": seconds, "difference": difference(out, expected)}
    return row


def difference(found: Tensor, expected: Tensor) -> float:
    """Return the share of ids that differ, or the largest difference of pixels in [0, 1]."""
    if expected.is_floating_point():
        return float((found - expected).abs().max())
    return float((found != expected).float().mean())


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: the plain version's seconds an image, and how the other versions compare with it."""
    from tabulate import tabulate

    others = [v for v in VARIANTS if v != "plain"]
    head = ["family", "step", "plain", *others, "remark"]
    body = []
    for family, row in rows.items():
        for step in ("encode", "decode"):
            seconds = row[f"{step}, plain"]["seconds"]
            cells = []
            for variant in others:
                found = row[f"{step}, {variant}"]
                off = f"{found['difference']:.1%} of ids" if step == "encode" else f"{found['difference']:.0e}"
                cells.append(f"{seconds / found['seconds']:.2f}x ({off})")
            body.append([family, step, f"{seconds:.2f} s", *cells, ROWS[family][1] if step == "decode" else ""])
    return tabulate(body, head, tablefmt="pipe", disable_numparse=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of the chosen rows and return 0."""
    parser = Parser(
        prog="python -m benchmarks.speed.reference_networks",
        description="Every family against its plainest faithful version.",
    )
    parser.add_argument("--rows", default="all", help=f"all, or some of: {'; '.join(ROWS)} (separated by ;)")
    parser.add_argument("--batch-size", type=integer, default=8)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    check_output_file("json", args.json, ".json")
    names = list(ROWS) if args.rows == "all" else [n.strip() for n in args.rows.split(";")]
    for name in names:
        if name not in ROWS:
            raise unknown("row", name, ROWS)
    whole("batch_size", args.batch_size, 1, 65536)
    import torch

    from lactok.evaluation.executors import worker_processes
    from lactok.evaluation.writing import processor

    rows = {}
    for name in names:  # each in its own process, so that its memory is freed before the next
        with worker_processes(1) as submit:
            rows[name] = submit(measure, ROWS[name][0], args.batch_size).result()
        print(f"measured: {name}", file=sys.stderr, flush=True)
    print(f"{processor()}, {torch.get_num_threads()} threads, {args.batch_size} images, random weights\n")
    print(table(rows))
    write_numbers(rows, args.json)
    return 0


if __name__ == "__main__":
    main()
