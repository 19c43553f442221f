"""The command `python -m lactok.train TRAINER --config FILE [--data DIR] [--out DIR] [--device D]`.

`python -m lactok.train tiny NAME [--data DIR]` runs all trainings of a shipped small tokenizer, and `python -m
lactok.train assemble` writes LaCTok's weights as one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import integer
from lactok.training.run import TRAINERS, recipe_kind, train, train_tiny
from lactok.training.unproven import EVER

RECIPE = "a recipe's file, or the name of one in lactok/training/configs/, as lactok-1-512"


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    root = Parser(
        prog="python -m lactok.train",
        description="Train a model of this project.",
        epilog=EVER,
        examples={
            "a shipped small tokenizer again, from nothing": "tiny titok-s128-tiny --data PHOTOGRAPHS",
            "one training by its recipe, with a value changed": "vq --config vq16-tiny --data PHOTOGRAPHS "
            "--set steps=100",
        },
    )
    trainers = root.add_subparsers(dest="trainer", required=True)
    for name, trainer in TRAINERS.items():
        sub = trainers.add_parser(name, help=trainer.trains, epilog=EVER)
        sub.add_argument("--config", required=True, help=RECIPE)
        sub.add_argument(
            "--data",
            help="instead of the recipe's: a folder of photographs or of webdataset shards, or a pattern of shards",
        )
        sub.add_argument("--out", type=Path, help="checkpoint, curve and weights (training-runs/NAME OF THE RECIPE)")
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value"
        )
        sub.add_argument("--device", default="cpu")
    tiny = trainers.add_parser("tiny", help="all trainings of a shipped small tokenizer, one after the other")
    tiny.add_argument("name", help="titok-s128-tiny, flextok-tiny, seedtok-tiny, lactok-h-tiny, ...")
    tiny.add_argument("--data", help="a folder of photographs or of webdataset shards, or a pattern of shards")
    tiny.add_argument("--runs", type=Path, default=Path("training-runs"), help="the folder of all runs (%(default)s)")
    tiny.add_argument("--device", default="cpu")
    assembled = trainers.add_parser("assemble", help="LaCTok's trained copy and all it needs as one file of weights")
    assembled.add_argument("--config", required=True, help=f"the recipe that trained the copy: {RECIPE}")
    assembled.add_argument(
        "--stage",
        type=integer,
        choices=(1, 2),
        help="of the copy (default: the recipe's); 1 with a recipe of stage 2 makes vq-ladd-h or vq-ladd-t",
    )
    assembled.add_argument("--copy", required=True, help="what the trainer wrote as NAME.safetensors")
    assembled.add_argument("--out", type=Path, required=True, help="the file, for example weights/lactok-h.safetensors")
    assembled.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value"
    )
    assembled.set_defaults(device="cpu", data=None)
    return root


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv`, or those of the command line; return the exit code."""
    args = parser().parse_args(argv)
    from lactok import config
    from lactok.device import check_device, check_device_name
    from lactok.training.tiny import CONFIGS, stages

    check_device_name(args.device)
    if args.trainer == "tiny":
        stages(args.name, args.runs)
        check_device(args.device)
        train_tiny(args.name, args.runs, args.device, config.changes([], args.data))
        return 0
    path = Path(args.config)
    if path.name == args.config and not path.exists() and (CONFIGS / f"{path}.toml").is_file():
        path = CONFIGS / f"{path}.toml"
    changes = config.changes(args.set, args.data)
    config.read_values(path, examples=CONFIGS)  # a file that is not there is answered before torch is imported
    check_device(args.device)
    kind = recipe_kind("lactok" if args.trainer == "assemble" else args.trainer)
    recipe = config.read(path, kind, changes, examples=CONFIGS)
    if args.trainer == "assemble":
        from lactok.training.assemble import assemble

        assemble(recipe, args.copy, args.out, args.stage)
        print(f"wrote {args.out}")
        return 0
    train(args.trainer, recipe, args.out or Path("training-runs") / recipe.name, args.device)
    return 0


if __name__ == "__main__":
    main()
