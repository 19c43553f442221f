"""`python -m benchmarks.speed.generate` times decoding of ids against the plain loop of the official code, in one run.

The weights are random, or a generator's own (`--generator`). Both loops have the same weights, captions, seeds and
threads, run in turn in this process, and the least time of each counts. A step is the time from one id to the next; its
bytes are the weights and the mean length of the cache, and the read loop beside it sums as many numbers. What half
precision changes is measured with the ids that float32 chose: how often the likeliest id is the same, and the
Kullback-Leibler divergence of the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from lactok.command import Parser, command, given, refuse_beside
from lactok.device import check_device
from lactok.errors import WrongValue, integer, whole


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(prog="python -m benchmarks.speed.generate", description="Speed of decoding ids, in one run.")
    p.add_argument("--shape", choices=("100m", "xl"), default="100m", help="about 100 M parameters, or LaCTokGen's")
    p.add_argument("--generator", metavar="NAME", help="the transformer of this generator, on captions of scenes")
    p.add_argument("--batches", default="1,8", help="images at a time, separated by commas (default: %(default)s)")
    p.add_argument("--repeats", type=integer, default=3, help="the least time of so many (default: %(default)s)")
    p.add_argument("--threads", type=integer, help="of the CPU (default: torch's)")
    p.add_argument("--device", default="cpu")
    p.add_argument("--compile", action="store_true", help="compile the own step; takes minutes")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 0."""
    own = parser()
    args = own.parse_args(argv)
    refuse_beside("generator", ("shape",), given(own, argv), "whose transformer has its own shape")
    whole("repeats", args.repeats, 1, 1000)
    try:
        batches = [integer(part) for part in args.batches.split(",")]
    except ValueError:
        raise WrongValue(f"`batches` {args.batches}: whole numbers separated by commas, such as 1,8") from None
    for batch in batches:
        whole("batches", batch, 1, 4096)
    check_device(args.device)
    if args.threads is not None:
        whole("threads", args.threads, 1, 4096)
    from benchmarks.speed.decoding import report

    print(report(args.shape, batches, args.device, args.repeats, args.threads, args.compile, args.generator))
    return 0


if __name__ == "__main__":
    main()
