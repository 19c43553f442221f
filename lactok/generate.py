"""`python -m lactok.generate PROMPT ... --generator NAME --out a.png`: pictures of prompts, without a suite.

A picture depends on its generator, its prompt and its seed alone, so the same prompt gives the same picture beside any
others. Each PNG file says in its metadata what made it; a second call keeps those that are there already.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.command import Parser, command
from lactok.errors import WrongValue, at_least, check_output_file, check_output_folder, disk_errors, integer
from lactok.evaluation.config import Settings
from lactok.evaluation.options import add_options
from lactok.evaluation.prompts import fault, of_file
from lactok.files import write_atomically
from lactok.outside_text import shown

if TYPE_CHECKING:
    from PIL import Image

    from lactok.specs import GeneratorSpec
    from lactok.tokenizer import Generator

NOTE = "lactok"  # the PNG text chunk that says what made a picture
GRID = "grid.png"
OTHER_FILES = (".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff")  # endings that name no folder


@dataclass(frozen=True)
class Job:
    """A picture that is to be made.

    Attributes:
        file: where it is written.
        condition: its prompt, or the number of its ImageNet class.
        seed: of its noise.
        note: what makes it, as its metadata says it.
    """

    file: Path
    condition: str | int
    seed: int
    note: str

    def is_there(self) -> bool:
        """Return whether the file is there, can be read and was made by the same generator from the same prompt.

        Raises:
            WrongValue: the file is a picture that this command did not make, and that would be lost.
        """
        from PIL import Image

        try:
            with Image.open(self.file) as picture:
                picture.load()
                note = picture.info.get(NOTE)
        except (OSError, ValueError, SyntaxError):
            return False
        if note is None:
            raise WrongValue(f"`out` {self.file} is a picture that lactok did not make; choose another name")
        return note == self.note


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    own = Parser(
        prog="python -m lactok.generate",
        description="Make pictures of prompts, or of numbers of ImageNet classes.",
        examples={
            "a picture of a prompt": "'a red bus' --generator sdxl --device cuda --out bus.png",
            "four of each prompt in a file, into a folder": "--prompts prompts.txt --generator sdxl --samples 4 "
            "--out pictures",
        },
    )
    own.add_argument("prompts", nargs="*", metavar="PROMPT", help="what to show, such as 'a red bus'")
    own.add_argument("--prompts", dest="file", metavar="FILE", help="more of them, one per line, or .jsonl")
    own.add_argument("--generator", required=True, help="a name, options after @, or FILE.py:CLASS")
    own.add_argument("--samples", type=integer, default=1, help="pictures per prompt (default: %(default)s)")
    own.add_argument(
        "--out",
        type=Path,
        default=Path("pictures"),
        help="a .png file for one picture; a folder for several, which also gets grid.png (default: %(default)s)",
    )
    seed = {"seed": {"help": "of a prompt's first picture; the others have the next ones (default: %(default)s)"}}
    add_options(own, "seed", "device", "dtype", "batch_size", "threads", "weights", **seed)
    return own


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Make the pictures and return 0."""
    args = parser().parse_args(argv)
    at_least("samples", args.samples, 1, 10_000)
    at_least("seed", args.seed, 0, 2**63 - 1 - args.samples)
    values = {key: value for key, value in vars(args).items() if key not in ("out", "prompts")}
    settings = Settings.of(values)
    settings.check()
    from lactok import registry

    spec = registry.generator_spec(args.generator)
    conditions = read_conditions(spec, args.prompts, args.file)
    alone = len(conditions) * args.samples == 1
    is_file = args.out.suffix.lower() == ".png"
    if args.out.suffix.lower() in OTHER_FILES:
        raise WrongValue(f"`out` {args.out}: pictures are written as PNG; name a .png file, or a folder for several")
    if is_file and not alone:
        count = len(conditions) * args.samples
        raise WrongValue(f"`out` {args.out} is one file, and there are {count} pictures; name a folder")
    (check_output_file if is_file else check_output_folder)("out", args.out)
    settings.use_machine()
    made_by = registry.generator_settings(args.generator)
    jobs = planned(made_by | {"dtype": settings.dtype}, conditions, args.samples, args.seed, args.out)
    missing = [job for job in jobs if not job.is_there()]
    if len(missing) < len(jobs):
        print(f"kept: {len(jobs) - len(missing)} of {len(jobs)} pictures were there already", file=sys.stderr)
    if replaced := sum(job.file.exists() for job in missing):
        what = "a picture that is damaged or" if replaced == 1 else f"{replaced} pictures that are damaged or"
        print(f"replacing {what} of another prompt, seed, dtype or generator", file=sys.stderr)
    if missing:
        import torch

        run = settings.run()
        if run.threads:
            torch.set_num_threads(run.threads)
        generator = registry.load_generator(args.generator, run.device, getattr(torch, run.dtype))
        make(generator, missing, run.micro_batch)
    if not is_file and not alone:
        write_grid([job.file for job in jobs], args.samples, args.out / GRID)
    print(f"written: {args.out}")
    return 0


def read_conditions(spec: GeneratorSpec, words: Sequence[str], file: str | None) -> list[str | int]:
    """Return the prompts, or the numbers of classes, that a user names on the command line and in a file.

    Raises:
        WrongValue: there is none, or one that the generator does not take.
    """
    entries: list[dict[str, Any]] = [{"prompt": word} for word in words]
    entries += of_file(file) if file else []
    if not entries:
        raise WrongValue("no prompt; write one, as in 'a red bus', or name a file by `prompts`")
    return [_condition(spec, number, entry) for number, entry in enumerate(entries, 1)]


def _condition(spec: GeneratorSpec, number: int, entry: dict[str, Any]) -> str | int:
    """Return what a generator is conditioned on; raise WrongValue for what it does not take."""
    if spec.condition not in ("text", "class"):
        raise WrongValue(f"{spec.name} is conditioned on {spec.condition!r}; this makes pictures of texts and classes")
    value = entry.get("class", entry.get("prompt")) if spec.condition == "class" else entry.get("prompt")
    if spec.condition == "class":
        try:
            found = value if type(value) is int else integer(str(value).strip())
        except ValueError:
            found = -1
        if not 0 <= found < 1000:
            raise WrongValue(
                f"prompt {number}, {shown(value)!r}: {spec.name} makes pictures of ImageNet classes; give a number "
                "from 0 to 999"
            )
        return found
    if not isinstance(value, str):
        raise WrongValue(f'prompt {number} has no "prompt" that is a text')
    if wrong := fault(value):
        raise WrongValue(f"prompt {number} {wrong}")
    return value


def planned(made_by: dict[str, Any], conditions: Sequence[str | int], samples: int, seed: int, out: Path) -> list[Job]:
    """Return the pictures that are to be made, prompt by prompt.

    Args:
        made_by: the generator's settings, see `lactok.registry.generator_settings`, and its dtype.
        conditions: prompts, or numbers of classes.
        samples: pictures of each.
        seed: of the first one; the others of a prompt have the next ones.
        out: a .png file, where there is one picture alone, or a folder.
    """
    from lactok.evaluation.protocol import digest

    jobs = []
    for number, condition in enumerate(conditions):
        for sample in range(samples):
            file = out if out.suffix.lower() == ".png" else out / f"{number:04}-{sample:04}.png"
            note = {
                "generator": made_by["name"],
                "settings": digest(made_by)[:16],
                "prompt" if isinstance(condition, str) else "class": condition,
                "seed": seed + sample,
            }
            jobs.append(Job(file, condition, seed + sample, json.dumps(note)))
    return jobs


def make(generator: Generator, jobs: Sequence[Job], batch: int) -> None:
    """Make pictures and write each as soon as its batch is there, so that an interrupted call loses one batch."""
    from lactok import images
    from lactok.evaluation.progress import progress

    conditions: list[Any] = [job.condition for job in jobs]
    with progress(generator.spec.name, len(jobs), "pictures") as report:
        for place, made in generator.stream(conditions, [job.seed for job in jobs], batch):
            pixels = images.to_uint8(made, "nearest").cpu()
            for job, picture in zip(jobs[place], pixels, strict=True):
                with disk_errors(job.file):
                    write_atomically(job.file, _png(images.to_pil(picture), job.note))
            report(place.stop, len(jobs))


def _png(picture: Image.Image, note: str) -> bytes:
    """Return a picture as the bytes of a PNG file that says what made it."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(NOTE, note)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def write_grid(files: Sequence[Path], samples: int, out: Path) -> None:
    """Write pictures of one size side by side: a row for each prompt, or nearly a square where each has one picture."""
    from PIL import Image

    columns = samples if samples > 1 else math.ceil(math.sqrt(len(files)))
    rows = math.ceil(len(files) / columns)
    grid: Image.Image | None = None
    for place, file in enumerate(files):
        with Image.open(file) as picture:
            width, height = picture.size
            if grid is None:
                grid = Image.new("RGB", (columns * width, rows * height), "white")
            grid.paste(picture, (place % columns * width, place // columns * height))
    assert grid is not None
    buffer = io.BytesIO()
    grid.save(buffer, "PNG")
    with disk_errors(out):
        write_atomically(out, buffer.getvalue())


if __name__ == "__main__":
    main()
