"""`python -m lactok.train vq --config FILE [--data DIR] [--out DIR] [--device D]`: the trainers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lactok.command import command
from lactok.errors import disk_errors


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m lactok.train", description="Train a model of this project.")
    trainers = root.add_subparsers(dest="trainer", required=True)
    vq = trainers.add_parser("vq", help="a VQ tokenizer (LlamaGen's classes)")
    vq.add_argument("--config", required=True, help="a recipe, for example lactok/training/configs/vq16-tiny.toml")
    vq.add_argument("--data", help="folder of photographs, instead of the recipe's")
    vq.add_argument("--out", default="training-runs/vq", help="checkpoint, curve and weights (default: %(default)s)")
    vq.add_argument("--device", default="cpu")
    return root


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok.device import check_device
    from lactok.training import common
    from lactok.training.vq import VQTrainer, VQTraining

    check_device(args.device)
    overrides = {"data": args.data} if args.data else {}
    config = common.read_config(args.config, VQTraining, overrides)
    with disk_errors(args.out):
        VQTrainer(config, Path(args.out), args.device).run()
    return 0


if __name__ == "__main__":
    main()
