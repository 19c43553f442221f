"""`python -m lactok.data --out DIR`: pairs of pictures and captions for training, as in the paper's section 4.4.

Prompts -> a generator -> new captions -> filters -> webdataset shards; a second call goes on where one was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, as_flags, command
from lactok.errors import WrongValue, check_output_folder, decimal, integer
from lactok.evaluation.config import Settings
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from lactok.data.construction import Construction
    from lactok.evaluation.executors import Executor

# the paper's: FLUX.1-dev, Qwen2.5-VL-72B, ImageReward > 0.9 and MPS > 12.0
GENERATOR, CAPTIONER, FILTERS = "flux.1-dev", "qwen2.5-vl-72b", "image_reward>0.9 mps>12.0"


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    own = Parser(
        prog="python -m lactok.data",
        description="Construct pairs of pictures and captions: prompts, a generator, new captions, filters, shards.",
        epilog="Each stage is a plug-in: a name, options after @, or FILE.py:CLASS; docs/data-construction.md.",
    )
    own.add_argument(
        "--prompts",
        help="a file with a prompt per line, .jsonl, a pattern of files, or a source as scenes-prompts",
    )
    own.add_argument("--generator", default=GENERATOR, help="what makes the pictures (default: %(default)s)")
    own.add_argument(
        "--captioner", default=CAPTIONER, help="what writes the captions; raw keeps the prompts (default: %(default)s)"
    )
    own.add_argument(
        "--filters",
        default=FILTERS,
        help="NAME or 'NAME>VALUE', rewards or others; a pair is kept if all pass; or none (default: %(default)s)",
    )
    own.add_argument("--real", metavar="DIR", help="photographs with captions, in a folder or archives, to be mixed in")
    own.add_argument("--count", type=integer, help="use the first N prompts (default: all)")
    own.add_argument(
        "--shard", type=integer, default=256, help="pairs of a shard before filters (default: %(default)s)"
    )
    own.add_argument(
        "--format", default="png", choices=["png", "jpg", "webp"], help="of generated pictures (default: %(default)s)"
    )
    out = {"help": "the folder of the shards", "required": True, "default": None}
    dtype = {"help": "of generator and captioner; filters compute in float32 (default: %(default)s)"}
    batch = {"help": "pairs at a time on a GPU; the CPU takes one by one (default: %(default)s)"}
    seed = {"help": "of prompts that are drawn, and of pictures (default: %(default)s)"}
    names = ("out", "device", "dtype", "batch_size", "seed", "workers", "engine", "ray_address", "ray_resources")
    add_options(own, *names, "threads", "weights", out=out, dtype=dtype, batch_size=batch, seed=seed)
    own.add_argument("--seconds-per-pair", type=decimal, help="through all stages, for --dry-run")
    own.add_argument("--dry-run", action="store_true", help="say what it would take, and make nothing")
    return own


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Construct the pairs, or say what it would take; return the exit code."""
    args = parser().parse_args(argv)
    settings = Settings.of(vars(args))
    settings.check()
    if args.seconds_per_pair is not None and not args.dry_run:
        raise WrongValue("`seconds_per_pair` is for `dry_run`; leave it out, or add that")
    check_output_folder("out", args.out)
    settings.use_machine()
    from lactok.data.construction import Construction
    from lactok.data.plan import plan
    from lactok.data.run import construct, report

    run = settings.run()
    construction = Construction(
        Path(args.out),
        args.prompts,
        args.generator,
        args.captioner,
        args.filters,
        args.real,
        args.count,
        args.seed,
        args.shard,
        args.format,
        run.device,
        run.dtype,
        run.micro_batch,
        run.threads,
    )
    construction.check()
    if args.dry_run:
        print(as_flags("\n".join(plan(construction, args.seconds_per_pair, args.workers or 1))))
        return 0
    try:
        found = construct(construction, _executor(settings, construction))
    finally:
        if settings.engine == "ray":
            from lactok.evaluation.ray_engine import end

            end()
    print(report(construction, found))
    print(f"written: {construction.out}")
    return 0


def _executor(settings: Settings, construction: Construction) -> Executor:
    """Return what runs the work: worker processes of this machine, or Ray Data."""
    execution = settings.execution()
    if execution.cluster is not None:
        from lactok.data.ray_data import RayDataExecutor

        return RayDataExecutor(execution.cluster, construction.out, construction.threads)
    from lactok.evaluation.executors import LocalExecutor

    return LocalExecutor(execution.workers)


if __name__ == "__main__":
    main()
