"""The command-line options that suites share: their help texts stand here, their defaults in `Settings`."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from typing import Any, get_args

from lactok.errors import integer
from lactok.evaluation.cluster import ENGINES
from lactok.evaluation.config import DType, Settings

OPTIONS: dict[str, dict[str, Any]] = {
    "dataset": {
        "help": "sample, text, imagenet, coco, mjhq, flux5k, a folder, a .txt list, shards or Parquet "
        "(default: %(default)s)"
    },
    "protocol": {
        "help": "how photographs are prepared and scored: square-256, paper-1024, paper-1024-4m, paper-1024-squash, "
        "llamagen-256, titok-256, seed-voken-256, seed-voken-256-ibq, var-256, native, seed-voken-native, tokbench; "
        "docs/protocols.md says what each does (default: %(default)s)"
    },
    "resolution": {"type": integer, "help": "instead of the protocol's; changes its hash; native has none"},
    "metrics": {"help": "default, all, or keys separated by commas; torchmetrics:CLASS for one of torchmetrics'"},
    "limit": {"type": integer, "metavar": "N", "help": "use N samples, a fixed random choice"},
    "pictures": {
        "metavar": "N|all",
        "help": "keep the reconstructions of this many samples, a fixed random choice, besides the "
        "best and the worst (default: %(default)s)",
    },
    "out": {"help": "results and the store (default: %(default)s)"},
    "device": {"help": "cpu, cuda, cuda:1, mps (default: %(default)s)"},
    "dtype": {"choices": get_args(DType), "help": "compute dtype of what is evaluated (default: %(default)s)"},
    "batch_size": {
        "type": integer,
        "help": "images at a time on a GPU; the CPU takes one by one (default: %(default)s)",
    },
    "workers": {
        "type": integer,
        "help": "processes, each with its own copy of the network (default: 1; on a Ray cluster as many as fit)",
    },
    "threads": {
        "type": integer,
        "help": "threads a process; others may change last bits (default: as torch chooses)",
    },
    "part": {
        "metavar": "I/N|auto",
        "help": "do only every N-th shard, from the I-th on; the last part to end merges; auto: as torchrun or SLURM "
        "number this process",
    },
    "engine": {
        "choices": ENGINES,
        "help": "local: processes of this machine; ray: those of a Ray cluster (%(default)s)",
    },
    "ray_address": {
        "metavar": "HOST:PORT|auto",
        "help": "of a running cluster (default: RAY_ADDRESS, else one is started here and ended)",
    },
    "ray_resources": {
        "metavar": "NAME=AMOUNT,...",
        "help": "what a task takes, as in gpu=0.5,cpu=4 (default: with --device cuda a GPU, else its threads' cores)",
    },
    "seed": {"type": integer, "help": "of the run; an image's seed is hash(seed, its id) (default: %(default)s)"},
    "fast": {
        "action": "store_true",
        "help": "networks of metrics in bfloat16; the row is marked, and how much it changes is said",
    },
    "weights": {"metavar": "DIR", "help": "folder with weights, looked into before every other source"},
}

# who does the work, and which of it
ENGINE = ("part", "workers", "engine", "ray_address", "ray_resources")

# what all suites of pictures have in common
RUN = ("out", "limit", "device", "dtype", "batch_size", "seed", *ENGINE, "threads", "weights")


def add_options(parser: argparse.ArgumentParser, *names: str, **instead: dict[str, Any]) -> None:
    """Add shared options to a command's parser.

    Args:
        parser: the parser.
        names: the options to add; all if none are named.
        instead: option -> what this command gives to `add_argument` instead of what stands in `OPTIONS`.
    """
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(Settings)}
    for name in names or OPTIONS:
        about = {"default": defaults[name], **OPTIONS[name], **instead.get(name, {})}
        parser.add_argument(f"--{name.replace('_', '-')}", **about)
