"""`python -m benchmarks.generation`: generators make pictures of prompts, in the folder layout of GenEval's scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.command import Parser, command
from lactok.errors import integer, whole
from lactok.evaluation.config import Settings, split_names
from lactok.evaluation.options import ENGINE, add_options

if TYPE_CHECKING:
    from benchmarks.generation.prompts import Prompt
    from lactok.evaluation.datasets import Sample
    from lactok.specs import GeneratorSpec


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.generation",
        description="Make pictures of prompts; run again to go on with what was interrupted.",
    )
    p.add_argument(
        "--generators", required=True, help="names separated by spaces or commas, options after @; FILE.py:CLASS"
    )
    p.add_argument(
        "--prompts",
        required=True,
        metavar="geneval|FILE",
        help='GenEval\'s 553, a text file with one prompt per line, or .jsonl with "prompt"',
    )
    p.add_argument("--samples", type=integer, default=4, help="pictures per prompt (default: %(default)s)")
    add_options(
        p,
        "out",
        "seed",
        "device",
        "dtype",
        *ENGINE,
        "limit",
        "batch_size",
        "weights",
        out={"required": True, "metavar": "DIR", "default": None, "help": "one folder per generator is made in it"},
        seed={"help": "seed of the run; a picture's seed is hash(seed, prompt, sample) (default: %(default)s)"},
        limit={"help": "use this many prompts, a fixed random choice"},
    )
    p.add_argument("--dry-run", action="store_true", help="say how many pictures would be made and what is missing")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a generator failed or lacks its weights."""
    args = parser().parse_args(argv)
    settings = Settings.of(vars(args))
    settings.check()
    whole("samples", args.samples, 1, 10_000)
    names = split_names(args.generators, "generators")
    from benchmarks.generation.prompts import read_prompts
    from lactok import registry
    from lactok.evaluation.store import folder_safe

    specs = [registry.generator_spec(name) for name in names]
    all_prompts = read_prompts(args.prompts)
    settings.use_machine()
    from benchmarks.generation.work import generate, planned
    from lactok.evaluation.datasets import limited_numbers
    from lactok.evaluation.measuring import one_by_one, report_unfinished

    # a prompt keeps its number among all prompts, so that the pictures of the other prompts can be added later
    numbers = limited_numbers(len(all_prompts), args.limit)
    prompts = [all_prompts[number] for number in numbers]
    numbered = dict(zip(numbers, prompts, strict=True))
    source = "geneval" if args.prompts == "geneval" else Path(args.prompts).stem
    folders = {name: Path(args.out) / folder_safe(spec.name) for name, spec in zip(names, specs, strict=True)}
    for spec in specs:
        if spec.note:
            print(f"{spec.name}: {spec.note}", file=sys.stderr)
    if args.dry_run:
        for name, spec in zip(names, specs, strict=True):
            print(plan(name, spec, prompts, planned(folders[name], numbered, args.samples)))
        return 0

    def make(name: str) -> None:
        run, execution = settings.run(), settings.execution()
        generate(name, prompts, folders[name], run, execution, samples=args.samples, source=source, numbers=numbers)
        print(f"written: {folders[name]}{speed(folders[name])}")

    _, missing, failed = one_by_one(names, make)
    return report_unfinished(missing, failed, strict=True)


def speed(folder: Path) -> str:
    """Return how fast a generator made the pictures in a folder, as the end of a line; "" where that is not known."""
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import PicturesResult, load

    try:
        result = load(folder)
    except Damaged:  # other parts still have pictures to make
        return ""
    if not isinstance(result, PicturesResult) or result.seconds_per_image is None:
        return ""
    rate = f"{result.seconds_per_image:.3g} s an image, {result.images_per_second:.3g} images a second"
    return f"; {rate} ({result.timed_images} images, {result.timed_on})"


def plan(name: str, spec: GeneratorSpec, prompts: Sequence[Prompt], pictures: Sequence[Sample]) -> str:
    """Return a line that says how many pictures a generator would make and whether its weights are here.

    Args:
        name: the generator as it is asked for.
        pictures: all pictures that there will be in the end.

    Raises:
        WrongValue: the generator cannot take one of the prompts.
    """
    from benchmarks.generation.prompts import conditions
    from lactok import weights

    conditions(name, prompts)  # for its errors
    left = sum(not picture.path.is_file() for picture in pictures)
    state = weights.state(spec.assets)
    return f"{spec.name}: {len(prompts)} prompts, {left} of {len(pictures)} pictures to make; weights {state}"


if __name__ == "__main__":
    main()
