"""`python -m benchmarks.contract NAME` checks whether an adapter keeps the contract of `lactok.Tokenizer`."""

from __future__ import annotations

from collections.abc import Sequence

from lactok.command import Parser, command, given, refuse_beside


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.contract",
        description="Try every rule of the interface on an adapter; a line a rule, exit code 3 if one is broken.",
    )
    p.add_argument("name", metavar="NAME", help="as for lactok.load, options after @, or FILE.py:CLASS")
    p.add_argument("--device", default="cpu", help="where the adapter computes; default cpu")
    p.add_argument("--weights", metavar="DIR", help="folder with weights, looked into before every other source")
    p.add_argument(
        "--random-weights", action="store_true", help="random weights: the network at its own size, without its file"
    )
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print one line for each rule; return 0 if every rule holds and 3 if one is broken."""
    own = parser()
    args = own.parse_args(argv)
    refuse_beside("random_weights", ("weights",), given(own, argv), "which reads no files")
    from lactok import registry

    registry.TOKENIZERS.check_name(args.name)  # before torch is imported
    from benchmarks.contract.check import run_check

    return run_check(args.name, args.device, args.weights, args.random_weights)


if __name__ == "__main__":
    main()
