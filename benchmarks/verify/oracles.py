"""`python -m benchmarks.verify.oracles`: every metric against the library that defines it, on the sample photographs.

The outputs are the photographs after strong JPEG compression. The largest deviation is printed beside the tolerance of
the tests. `docs/oracles.md` is the list of all oracles, those of networks and statistics included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.verify.libraries import ORACLES, QUALITY, SIDE, Inputs
from lactok.command import Parser, command
from lactok.errors import MissingFile, integer, whole
from lactok.files import is_file

if TYPE_CHECKING:
    from torch import Tensor

# published LPIPS with AlexNet of two pairs of images in the folder `imgs` of the LPIPS repository
PUBLISHED_PAIRS = {"ex_p0.png": 0.72188, "ex_p1.png": 0.13757}
PUBLISHED_REFERENCE = "ex_ref.png"
PUBLISHED_ATOL = 5e-5  # AlexNet's weights and the arithmetic of a processor change the fifth digit


def published_pairs(folder: Path) -> list[list[str]]:
    """Return a row for each of the LPIPS repository's pairs: the published LPIPS and that of its images in a folder.

    Raises:
        MissingFile: an image is not there; the message says where they are.
    """
    from PIL import Image

    from lactok.evaluation.reconstruction import stack
    from lactok.metrics.lpips import lpips_alex

    def opened(name: str) -> Tensor:
        if not is_file(folder / name):
            raise MissingFile(
                f"`lpips_pairs`: {folder / name} is not there; {PUBLISHED_REFERENCE}, {' and '.join(PUBLISHED_PAIRS)} "
                "are in the folder imgs of github.com/richzhang/PerceptualSimilarity"
            )
        import numpy as np

        return stack([np.asarray(Image.open(folder / name).convert("RGB"))])

    reference, rows = opened(PUBLISHED_REFERENCE), []
    for name, published in PUBLISHED_PAIRS.items():
        found = float(lpips_alex(reference, opened(name)))
        rows.append(_row(f"lpips_alex of {name}", f"published {published}", abs(found - published), PUBLISHED_ATOL))
    return rows


def _row(what: str, against: str, deviation: float, tolerance: float, relative: bool = False) -> list[str]:
    """Return a row of the table; the last cell says whether the deviation is within the tolerance."""
    kind = " relative" if relative else ""
    verdict = "ok" if deviation <= tolerance else "FAIL"  # nan fails
    return [what, against, f"{deviation:.1e}{kind}", f"{tolerance:.0e}{kind}", verdict]


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.verify.oracles",
        description="Compare every metric with the library that defines it. Exit code 1 if one is farther from it than "
        "the tests allow.",
    )
    p.add_argument("--limit", type=integer, default=12, help="photographs of the sample set (default: %(default)s)")
    p.add_argument(
        "--lpips-pairs",
        type=Path,
        metavar="DIR",
        help=f"folder with {PUBLISHED_REFERENCE}, {', '.join(PUBLISHED_PAIRS)} of the LPIPS repository: also compare "
        "with the published distances",
    )
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a deviation is beyond its tolerance, else 0."""
    args = parser().parse_args(argv)
    whole("limit", args.limit, 2, 36)
    from importlib.metadata import version

    import torch
    from tabulate import tabulate

    with torch.inference_mode():
        rows = [] if args.lpips_pairs is None else published_pairs(args.lpips_pairs)
        inputs = Inputs(args.limit)
        for each in ORACLES:
            against = f"{each.package} {version(each.package)}"
            rows.append(_row(each.what, against, each.deviation(inputs), each.tolerance, each.relative))
    head = ["what", "against", "largest deviation", "tolerance", ""]
    print(f"{len(inputs.references)} photographs at {SIDE} px and their JPEG files of quality {QUALITY}\n")
    print(tabulate(rows, head, tablefmt="pipe", disable_numparse=True))
    return int(any(row[-1] != "ok" for row in rows))


if __name__ == "__main__":
    main()
