"""`python -m benchmarks.coverage means|distances`: how often 95 % intervals cover the truth, by simulation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import WrongValue, check_output_file, integer, whole

IMAGES = {"means": "30,50,100,500", "distances": "200,500,1000,5000"}


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.coverage",
        description="Draw many data sets from known distributions, compute the intervals as results do, and print how "
        "often they cover the true value. docs/statistics.md explains the columns.",
    )
    p.add_argument("what", choices=list(IMAGES), help="means of single images, or distances of sets (rFID, KID)")
    p.add_argument("--images", metavar="N,N", help=f"sizes of the sets ({IMAGES['means']}; {IMAGES['distances']})")
    p.add_argument("--simulations", type=integer, default=1000, help="data sets of each size (%(default)s)")
    p.add_argument("--features", type=integer, default=64, help="features of an image, for distances (%(default)s)")
    p.add_argument(
        "--kid-up-to", type=integer, default=1000, metavar="N", help="images up to which KID is simulated (%(default)s)"
    )
    p.add_argument("--seed", type=integer, default=0, help="of the simulations (%(default)s)")
    p.add_argument(
        "--out", metavar="FILE", help="JSON file of the rows; rows that it holds already are not simulated again"
    )
    return p


def sizes(text: str) -> list[int]:
    """Return the sizes of the sets that the user named.

    >>> sizes("30,50")
    [30, 50]
    """
    try:
        return [whole("images", int(part), 2, 1_000_000) for part in text.split(",")]
    except ValueError as error:
        if isinstance(error, WrongValue):
            raise
        raise WrongValue(f"`images` {text!r}: whole numbers with commas between them, such as 200,1000") from error


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print a table with a row for each distribution and size, and return 0."""
    args = parser().parse_args(argv)
    images = sizes(args.images or IMAGES[args.what])
    simulations = whole("simulations", args.simulations, 2, 1_000_000)
    features = whole("features", args.features, 2, 4096)
    up_to, seed = whole("kid_up_to", args.kid_up_to, 0), whole("seed", args.seed, 0)
    check_output_file("out", args.out)
    from benchmarks.coverage import rows
    from benchmarks.coverage.simulate import FEWEST

    if args.what == "distances" and min(images) < FEWEST:
        raise WrongValue(f"`images` {min(images)}: a distance has an interval from {FEWEST} images on")
    cells = rows.cells(args.what, images, simulations, features, up_to, seed)
    print(rows.table(args.what, rows.simulated(cells, Path(args.out) if args.out else None)))
    return 0


if __name__ == "__main__":
    main()
