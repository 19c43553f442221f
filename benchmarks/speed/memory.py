"""`python -m benchmarks.speed.memory`: parameters, weights and peak memory of tokenizers and generators.

Nothing runs and no memory is taken: `benchmarks.speed.footprint` says how the peak is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.measure import write_numbers
from lactok.command import Parser, command
from lactok.errors import UserError, WrongValue, check_output_file, integer, whole
from lactok.evaluation.config import split_names

if TYPE_CHECKING:
    from benchmarks.speed.footprint import Memory


def names_of(text: str, all_names: Sequence[str]) -> list[str]:
    """Return the names that an argument means; "all" are those of the published sizes."""
    return [n for n in all_names if not n.endswith("-tiny")] if text == "all" else split_names(text)


def table(rows: Sequence[Memory], batch: int) -> str:
    """Return a Markdown table."""
    from tabulate import tabulate

    head = ["model", "parameters", "weights, float32", "weights, bfloat16", "peak by phase, float32", "peak"]
    body = []
    for row in rows:
        parts = ", ".join(f"{p.name} {p.peak / 1e9:.2f}" for p in row.phases)
        size = f"{4 * row.parameters / 1e9:.2f} GB", f"{2 * row.parameters / 1e9:.2f} GB"
        body.append([row.name, f"{row.parameters / 1e6:.1f} M", *size, parts, f"{row.peak.peak / 1e9:.2f} GB"])
    title = f"inference of {batch} image{'s' if batch > 1 else ''} at a time; computed on the meta device, not measured"
    notes = "".join(f"\n{row.name}: {row.note}" for row in rows if row.note)
    return f"{title}\n\n{tabulate(body, head, tablefmt='pipe', disable_numparse=True)}{notes}"


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed.memory",
        description="Parameters, weights and peak memory of tokenizers and generators, computed without taking any.",
    )
    p.add_argument("--tokenizers", help="names separated by spaces or commas, options after @, or all (full sizes)")
    p.add_argument("--generators", help="as for tokenizers; with neither, all of both")
    p.add_argument("--batch-size", type=integer, default=1, help="images at a time (default: %(default)s)")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 3 if a model that was asked for by name could not be computed."""
    args = parser().parse_args(argv)
    whole("batch_size", args.batch_size, 1, 65536)
    check_output_file("json", args.json, ".json")
    neither = args.tokenizers is None and args.generators is None
    from benchmarks.speed.footprint import generator_memory, tokenizer_memory
    from lactok import registry

    asked = [
        (
            tokenizer_memory,
            registry.TOKENIZERS,
            args.tokenizers or ("all" if neither else ""),
            registry.list_tokenizers,
        ),
        (
            generator_memory,
            registry.GENERATORS,
            args.generators or ("all" if neither else ""),
            registry.list_generators,
        ),
    ]
    rows, missing = [], []
    jobs = [(of, name, text) for of, kind, text, names in asked if text for name in names_of(text, names())]
    if not jobs:
        raise WrongValue("no name of a tokenizer or generator; leave out --tokenizers and --generators for all")
    for of, name, _ in jobs:
        (registry.TOKENIZERS if of is tokenizer_memory else registry.GENERATORS).check_name(name)
    for of, name, text in jobs:
        try:
            rows.append(of(name, args.batch_size))
        except UserError as error:
            missing.append((name, str(error), text != "all"))
    print(table(rows, args.batch_size))
    for name, reason, _ in missing:
        print(f"not computed: {name}: {reason}")
    phases = [[{"phase": p.name, "weights": p.weights, "activations": p.activations} for p in r.phases] for r in rows]
    numbers = [
        {"name": r.name, "parameters": r.parameters, "peak": r.peak.peak, "phases": p}
        for r, p in zip(rows, phases, strict=True)
    ]
    write_numbers(numbers, args.json)
    return 3 if any(named for _, _, named in missing) else 0


if __name__ == "__main__":
    main()
