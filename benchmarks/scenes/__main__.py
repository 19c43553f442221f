"""`python -m benchmarks.scenes make | train-detector | agreement | pairs`: composed scenes, a judge trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lactok.command import Parser, command
from lactok.errors import WrongValue, check_output_file, check_output_folder, decimal, disk_errors, integer, whole
from lactok.evaluation.config import RANGES

RECIPE = Path(__file__).parent / "scenes-tiny.toml"


def parser() -> Parser:
    """Return the parser of the four subcommands."""
    root = Parser(prog="python -m benchmarks.scenes", description="GenEval on composed scenes.")
    actions = root.add_subparsers(dest="action", required=True)

    sub = actions.add_parser("make", help="compose scenes in GenEval's layout, with their truth")
    sub.add_argument("--out", type=Path, required=True)
    sub.add_argument(
        "--count", type=integer, default=120, help="captions, the six tasks in turn (default: %(default)s)"
    )
    sub.add_argument("--samples", type=integer, default=4, help="pictures a caption (default: %(default)s)")
    sub.add_argument("--broken", type=decimal, default=1 / 3, help="share that breaks its caption (default: a third)")
    sub.add_argument("--seed", type=integer, default=0)

    sub = actions.add_parser("train-detector", help="train scenes-tiny; a killed run goes on where it was")
    sub.add_argument("--config", default=str(RECIPE), help="a recipe (default: %(default)s)")
    sub.add_argument("--out", type=Path, help="checkpoint, curve and weights (training-runs/NAME OF THE RECIPE)")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the recipe's value")
    sub.add_argument("--device", default="cpu")

    sub = actions.add_parser("agreement", help="how often GenEval's verdict by a detector agrees with the truth")
    sub.add_argument("scenes", type=Path, metavar="DIR", help="what `make` wrote")
    sub.add_argument("--detector", default="scenes-tiny")
    sub.add_argument("--colours", default="scenes-tiny", help="classifier of colours (default: %(default)s)")
    sub.add_argument("--out", type=Path, help="where the figures are written as JSON (DIR/agreement.json)")
    sub.add_argument("--seed", type=integer, default=0, help="of the shuffled captions")
    sub.add_argument("--device", default="cpu")
    sub.add_argument("--weights", help="folder with weights, looked into before every other source")

    sub = actions.add_parser("pairs", help="how many constructed pairs are true, before the filters and after them")
    sub.add_argument("pairs", type=Path, metavar="DIR", help="what `python -m lactok.data` wrote")
    return root


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the chosen subcommand and return its exit code."""
    args = parser().parse_args(argv)
    if args.action == "pairs":
        from benchmarks.scenes import pairs

        print(pairs.table(pairs.summarize(args.pairs)))
        return 0
    if args.action == "agreement":
        whole("seed", args.seed, *RANGES["seed"])
        check_output_file("out", args.out)
    else:
        check_output_folder("out", args.out or "training-runs")
    if args.action == "make":
        return make(args.out, args.count, args.samples, args.seed, args.broken)
    from lactok.device import check_device

    check_device(args.device)
    if args.action == "train-detector":
        return train(args.config, args.set, args.out, args.device)
    if args.weights:
        from lactok import weights

        weights.use_folder(args.weights)
    return agree(args.scenes, args.detector, args.colours, args.device, args.seed, args.out)


def make(out: Path, count: int, samples: int, seed: int, broken: float) -> int:
    """Write `count` captions with `samples` pictures each into the folder `out`; return the exit code.

    Raises:
        WrongValue: `count` or `samples` is below 1, or `broken`, the share of scenes that break their caption, is not
            within 0 to 1.
    """
    whole("count", count, 1, 100_000)
    whole("samples", samples, 1, 10_000)
    whole("seed", seed, *RANGES["seed"])
    if not 0 <= broken <= 1:
        raise WrongValue(f"`broken` {broken}: a share, 0 to 1")
    from benchmarks.scenes import folder
    from lactok.evaluation.progress import progress

    with progress("scenes", count, "captions") as report:
        folder.make(out, count, samples, seed, broken, report)
    print(f"wrote {count} captions with {samples} pictures each to {out}")
    return 0


def train(recipe_file: str, settings: Sequence[str], out: Path | None, device: str) -> int:
    """Train the judge by a recipe (TOML) with `settings` (KEY=VALUE) in place of its values; return the exit code."""
    from benchmarks.scenes.training import SceneLearner, SceneRecipe, SceneTrainer
    from lactok import config
    from lactok.training.distributed import accelerator_of

    recipe = config.read(recipe_file, SceneRecipe, config.changes(settings))
    folder = out or Path("training-runs") / recipe.name
    with disk_errors(folder):
        accelerator = accelerator_of(device, recipe.precision)
        SceneTrainer(recipe, SceneLearner(recipe), folder, accelerator).run()
        accelerator.end_training()
    return 0


def agree(scenes: Path, detector: str, colours: str, device: str, seed: int, out: Path | None) -> int:
    """Print how often GenEval's verdict by the named judges agrees with the truth; return the exit code."""
    from benchmarks.geneval import detectors
    from benchmarks.scenes.agreement import report_agreement

    judges = detectors.find("detector", detector), detectors.find("colour", colours)
    report_agreement(scenes, *judges, device, seed, out)
    return 0


if __name__ == "__main__":
    main()
