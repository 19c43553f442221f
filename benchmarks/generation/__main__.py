"""`python -m benchmarks.generation`: pictures of prompts by generators, in the layout of GenEval's official scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.recon.__main__ import part_of, print_bug, split_names
from lactok.command import Parser, command
from lactok.errors import DiskError, UserError, WeightsNotFound, disk_errors

Prompt = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """One picture to be made: of prompt `index`, its `sample`-th."""

    index: int
    sample: int

    def path(self, folder: Path) -> Path:
        return prompt_folder(folder, self.index) / "samples" / f"{self.sample:04}.png"


def prompt_folder(folder: Path, index: int) -> Path:
    return folder / f"{index:05}"


def generate(
    name: str, prompts: Sequence[Prompt], folder: Path, *, samples: int, seed: int, device: str, dtype: str,
    part: tuple[int, int] = (1, 1), batch_size: int = 1,
) -> None:  # fmt: skip
    """Write `folder/00000/metadata.jsonl` and `folder/00000/samples/0000.png`, ..., a folder a prompt.

    The layout is that of djghosh13/geneval; `metadata.jsonl` is the prompt's JSON, as its scripts write it. Pictures
    that are there already and can be read are kept, so an interrupted run goes on.

    Args:
        name: of a generator, with options after `@`.
        prompts: each with a "prompt", or with a "class" for generators of ImageNet classes; other keys are kept.
        samples: pictures a prompt.
        seed: of the run; a picture's is hash(seed, index of its prompt, number of its sample).
        dtype: compute dtype: "float32", "bfloat16" or "float16".
        part: I, N: only every N-th prompt, from the I-th on.
        batch_size: pictures at a time on a GPU; the CPU makes one by one, where a picture is the same in any batch.

    Raises:
        UserError: unknown generator, prompts that it cannot take, a folder of other pictures, a full disk.
        WeightsNotFound: the generator's weights cannot be had.
    """
    import torch

    import lactok
    from lactok import images
    from lactok.evaluation.progress import progress
    from lactok.evaluation.store import write_atomically
    from lactok.randomness import seed_of

    first, parts = part
    indices = range(first - 1, len(prompts), parts)
    conditions = _conditions(name, prompts)
    with disk_errors(folder):
        _claim(folder, name, {"seed": seed, "samples": samples, "dtype": dtype})
        for index in indices:
            _describe(folder, index, prompts[index])
    pictures = [Picture(index, sample) for index in indices for sample in range(samples)]
    missing = [p for p in pictures if not _is_readable(p.path(folder))]
    if not missing:
        return
    generator = lactok.load_generator(name, device, getattr(torch, dtype))
    size = 1 if device == "cpu" else batch_size
    done = len(pictures) - len(missing)
    with progress(generator.spec.name, len(pictures), "pictures") as report:
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            seeds = [seed_of(seed, p.index, p.sample) for p in batch]
            made = images.to_uint8(generator.generate([conditions[p.index] for p in batch], seeds), "nearest").cpu()
            with disk_errors(folder):
                for picture, image in zip(batch, made, strict=True):
                    write_atomically(picture.path(folder), images.png(image))
            report(done + start + len(batch), len(pictures))


def _conditions(name: str, prompts: Sequence[Prompt]) -> list[Any]:
    """What the generator takes of each prompt."""
    from lactok import registry

    spec = registry.generator_spec(name)
    key, kind = ("prompt", str) if spec.condition == "text" else ("class", int)
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt.get(key), kind):
            what = "a text" if kind is str else "a number"
            raise UserError(f'prompt {number} has no "{key}" that is {what}, which {spec.name} needs')
    return [prompt[key] for prompt in prompts]


def _claim(folder: Path, name: str, run: Mapping[str, object]) -> None:
    """Note in `folder/generation.json` what makes its pictures; raise UserError where others made them."""
    import torch

    from lactok import registry
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.results import to_json
    from lactok.evaluation.store import write_atomically

    with torch.device("meta"):
        settings = registry.GENERATORS.entry(name).create().settings()
    note = {"generator": settings["name"], "settings": digest(settings)[:16], **run}
    path = folder / "generation.json"
    if path.exists():
        try:
            known = json.loads(path.read_text())
            other = {key: (known.get(key), value) for key, value in note.items() if known.get(key) != value}
        except (ValueError, AttributeError):
            raise UserError(f"{path} is damaged; delete it if its folder is to be filled by {name}") from None
        if other:
            differences = ", ".join(f"{key} {old} instead of {new}" for key, (old, new) in other.items())
            raise UserError(f"{folder} holds pictures of another run ({differences}); choose another folder")
    elif folder.exists() and next(folder.glob("[0-9]*/samples/*"), None) is not None:
        raise UserError(f"{folder} holds pictures without a generation.json; choose another folder")
    else:
        write_atomically(path, to_json(note))


def _describe(folder: Path, index: int, prompt: Prompt) -> None:
    """The prompt's metadata.jsonl; raises UserError where its folder belongs to another prompt."""
    from lactok.evaluation.store import write_atomically

    path, line = prompt_folder(folder, index) / "metadata.jsonl", json.dumps(dict(prompt)).encode()
    if not path.exists():
        write_atomically(path, line)
    elif path.read_bytes() != line:
        raise UserError(f"{path.parent} holds pictures of another prompt; choose another folder")


def _is_readable(path: Path) -> bool:
    """Whether a picture is there and whole; a damaged one is said and made anew."""
    from lactok.images import UnreadableImage, open_photograph

    if not path.exists():
        return False
    try:
        open_photograph(path)
    except UnreadableImage as error:
        print(f"{path} is damaged ({error}): it is made again", file=sys.stderr, flush=True)
        return False
    return True


def read_prompts(source: str) -> list[dict[str, Any]]:
    """`geneval`, or a file: .jsonl with an object a line, anything else with a prompt a line (empty lines left out).

    Raises:
        UserError: no such file, not UTF-8, or a line that is no object.
    """
    if source == "geneval":
        from benchmarks.geneval import prompts

        return [dict(prompt) for prompt in prompts.official()]
    path = Path(source)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"--prompts {source}: {reason}; give geneval or a file of prompts") from error
    if path.suffix != ".jsonl":
        found = [{"prompt": line} for line in lines if line]
    else:
        found = [_object(f"{source}, line {number}", line) for number, line in enumerate(lines, 1) if line]
    if not found:
        raise UserError(f"--prompts {source}: no prompt in it")
    return found


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f'{where}: not a JSON object, as in {{"prompt": "a photo of a bench"}}')
    return value


def folder_of(out: Path, name: str) -> Path:
    """The folder of a generator's pictures under `--out`."""
    from lactok import registry
    from lactok.evaluation.store import folder_safe

    return out / folder_safe(registry.generator_spec(name).name)


def parser() -> Parser:
    p = Parser(
        prog="python -m benchmarks.generation",
        description="Make pictures of prompts; run again to go on with what was interrupted.",
    )
    p.add_argument("--generators", required=True, help="names separated by spaces or commas, options after @")
    p.add_argument("--prompts", required=True, metavar="geneval|FILE",
                   help='GenEval\'s 553, a text file with a prompt a line, or .jsonl with "prompt"')  # fmt: skip
    p.add_argument("--out", required=True, type=Path, metavar="DIR", help="a folder a generator is made in it")
    p.add_argument("--samples", type=int, default=4, help="pictures a prompt (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the run; a picture's is hash(seed, prompt, sample)")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--part", metavar="I/N", help="do only every N-th prompt, from the I-th on")
    p.add_argument("--limit", type=int, metavar="N", help="only the first N prompts")
    p.add_argument("--batch-size", type=int, default=1, help="pictures at a time on a GPU; the CPU makes one by one")
    p.add_argument("--weights", help="folder with weights, looked into before every other source")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok import registry, weights

    for flag, value in (("samples", args.samples), ("batch-size", args.batch_size), ("limit", args.limit)):
        if value is not None and value < 1:
            raise UserError(f"--{flag} {value}: 1 or more")
    first, parts = part_of(args.part)
    names = split_names(args.generators)
    if not names:
        raise UserError("--generators is empty; name some")
    specs = [registry.generator_spec(name) for name in names]
    prompts = read_prompts(args.prompts)[: args.limit]
    if args.weights:
        weights.use_folder(args.weights)
    from lactok.device import check_device

    check_device(args.device)
    failed = False
    for spec in specs:
        if spec.note:
            print(f"{spec.name}: {spec.note}", file=sys.stderr)
        folder = folder_of(args.out, spec.name)
        try:
            generate(spec.name, prompts, folder, samples=args.samples, seed=args.seed, device=args.device,
                     dtype=args.dtype, part=(first + 1, parts), batch_size=args.batch_size)  # fmt: skip
        except DiskError:
            raise
        except UserError as error:  # the others still run
            if len(specs) == 1 and not isinstance(error, WeightsNotFound):
                raise
            failed = True
            kind = "not run" if isinstance(error, WeightsNotFound) else "failed"
            print(f"{kind}: {spec.name}: {error}", file=sys.stderr)
        except Exception:
            failed = True
            print_bug(spec.name)
        else:
            print(f"written: {folder}")
    return 3 if failed else 0


if __name__ == "__main__":
    main()
