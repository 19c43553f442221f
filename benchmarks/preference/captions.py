"""Captions of pictures: from files, from COCO's annotations, from GenEval's folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lactok.errors import MissingFile, WrongValue
from lactok.evaluation import datasets
from lactok.evaluation.datasets import Dataset, Sample, data_folder, id_of, named_by_content
from lactok.evaluation.protocol import digest
from lactok.images import EXTENSIONS

COCO_FILE = Path("annotations") / "captions_val2017.json"


@dataclass(frozen=True)
class Captioned:
    """Pictures with their captions.

    Attributes:
        source: names the captions, with a few digits of their content.
        skipped: what was left out, with the reason.
        waiting: captions without a picture.
    """

    dataset: Dataset
    source: str
    skipped: tuple[tuple[str, str], ...] = ()
    waiting: tuple[str, ...] = ()


def read(path: Path) -> dict[str, str]:
    """Captions by file name.

    Args:
        path: .tsv: name, tab, caption; .jsonl: objects with "file_name" and "caption" (or "prompt"); .json: an object
            of captions by name, or COCO's annotations, see `coco`.

    Raises:
        WrongValue: another ending, unreadable, a name twice, a caption that is no text.
    """
    readers = {".tsv": _tsv, ".jsonl": _jsonl, ".json": _json}
    if path.suffix.lower() not in readers:
        raise WrongValue(f"`captions` {path}: a file that ends in {', '.join(readers)}, or coco")
    found = readers[path.suffix.lower()](path, _text(path))
    if not found:
        raise WrongValue(f"{path} holds no captions")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingFile(f"captions {path}: {error.strerror}") from error
    except ValueError as error:
        raise WrongValue(f"{path} is not UTF-8 text: {error}") from error


def _clean(where: str, caption: object) -> str:
    """White space to single spaces; halves of surrogate pairs, which no tokenizer takes, to question marks."""
    text = " ".join(caption.encode("utf-8", "replace").decode().split()) if isinstance(caption, str) else ""
    if not text:
        raise WrongValue(f"{where}: its caption is not a text: {caption!r:.60}")
    return text


def _add(found: dict[str, str], where: str, name: object, caption: object) -> None:
    if not isinstance(name, str) or not name:
        raise WrongValue(f"{where}: no file name")
    if name in found:
        raise WrongValue(f"{where}: {name} has a caption already; leave one of them out")
    found[name] = _clean(where, caption)


def _tsv(path: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            name, tab, caption = line.rstrip("\r").partition("\t")
            if not tab:
                raise WrongValue(f"{path} line {number}: no tab between file name and caption")
            _add(found, f"{path} line {number}", name, caption)
    return found


def _jsonl(path: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path} line {number}"
            entry = _object(where, line)
            _add(found, where, entry.get("file_name"), entry.get("caption", entry.get("prompt")))
    return found


def _json(path: Path, text: str) -> dict[str, str]:
    content = _object(str(path), text)
    if isinstance(content.get("annotations"), list):
        return _first_annotations(path, content)
    return {name: _clean(f"{path}: {name}", caption) for name, caption in content.items()}


def _object(where: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongValue(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WrongValue(f"{where}: not a JSON object")
    return content


def _first_annotations(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """Of each image the caption whose annotation has the lowest id."""
    first: dict[int, tuple[int, object]] = {}
    try:
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        for annotation in content["annotations"]:
            image, entry = int(annotation["image_id"]), (int(annotation["id"]), annotation["caption"])
            first[image] = min(first.get(image, entry), entry, key=lambda e: e[0])
    except (KeyError, TypeError, ValueError) as error:
        raise WrongValue(f"{path} is not a file of COCO captions ({error!r})") from error
    found = {names[i]: _clean(f"{path}: {names[i]}", first[i][1]) for i in names if i in first}
    return dict(sorted(found.items()))


def coco(data_dir: Path | None = None) -> dict[str, str]:
    """One caption for each image of COCO 2017 val, by file name: of its five, that of the lowest annotation id.

    Which of the five a paper used is seldom said; this choice is anybody's to repeat. White space is made single.

    Raises:
        WrongValue: the annotations are not where they belong.
    """
    path = data_folder("coco", data_dir) / COCO_FILE
    if not path.is_file():
        raise MissingFile(
            f"COCO's captions are not in {path}: put captions_val2017.json of annotations_trainval2017.zip "
            "(cocodataset.org) there, set LACTOK_DATA, or name `captions` FILE"
        )
    return read(path)


def named(source: str) -> tuple[str, dict[str, str]]:
    """What the argument `captions` means: a name for them and the captions by file name."""
    found = coco() if source == "coco" else read(Path(source))
    return f"{Path(source).stem}-{digest(found)[:6]}", found


def pictures(root: Path, source: str | None = None, needed: bool = True) -> Captioned:
    """The pictures under a folder with their captions.

    Args:
        root: GenEval's layout (`00000/metadata.jsonl`, whose "prompt" is the caption, and `00000/samples/*.png`), or
            any folder of pictures.
        source: captions of any other folder, see `named`; by default those of `captions.json` in it. A name stands
            for a picture of the same name, or of the only picture of that name with another ending.
        needed: pictures without a caption are left out, and none with one is a mistake.

    Raises:
        WrongValue: no pictures, no captions, or captions that cannot be read.
    """
    folders = sorted(root.glob("*/metadata.jsonl"))
    if folders:
        if source is not None:
            raise WrongValue(f"{root} has captions in its own metadata.jsonl files; leave `captions` out")
        return _geneval(root, folders)
    if source is None and (root / "captions.json").is_file():
        source = str(root / "captions.json")
    if source is None and needed:
        raise WrongValue(f"{root} has no captions: put captions.json into it or name `captions` FILE (or coco)")
    found = datasets.folder(root)
    if source is None:
        return Captioned(found, "no-captions")
    name, captions = named(source)
    return _matched(found, name, captions, needed)


def _geneval(root: Path, folders: list[Path]) -> Captioned:
    samples, waiting, prompts = [], [], []
    for path in folders:
        entry = _object(str(path), _text(path))
        caption = _clean(str(path), entry.get("prompt"))
        prompts.append(caption)
        inside = path.parent / "samples"
        files = sorted(p for p in inside.glob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        samples += [Sample(id_of(p, root), p, caption) for p in files]
        if not files:
            waiting.append(id_of(path.parent, root))
    if not samples:
        raise WrongValue(f"{root} holds no pictures: nothing in {folders[0].parent / 'samples'} and beside it")
    dataset = named_by_content(root.resolve().name, tuple(sorted(samples, key=lambda s: s.id)))
    return Captioned(dataset, f"prompts-{digest(prompts)[:6]}", (), tuple(waiting))


def _matched(found: Dataset, name: str, captions: Mapping[str, str], needed: bool) -> Captioned:
    def stem(identifier: str) -> str:
        return PurePosixPath(identifier).with_suffix("").as_posix()

    stems: dict[str, list[str]] = {}
    for listed in captions:
        stems.setdefault(stem(listed), []).append(listed)
    counts: dict[str, int] = {}
    for sample in found.samples:
        counts[stem(sample.id)] = counts.get(stem(sample.id), 0) + 1
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    used: set[str | None] = set()
    for sample in found.samples:
        near = stems.get(stem(sample.id), [])
        key: str | None = sample.id if sample.id in captions else None
        if key is None and len(near) == 1 and counts[stem(sample.id)] == 1:
            key = near[0]
        if key is None and needed:
            skipped.append((sample.id, "no caption"))
            continue
        used.add(key)
        samples.append(Sample(sample.id, sample.path, None if key is None else captions[key]))
    if not samples:
        raise WrongValue(
            f"none of the {len(found.samples)} pictures has a caption: {found.samples[0].id} is not among the names "
            f"of the captions ({next(iter(captions))}, ...)"
        )
    return Captioned(
        Dataset(found.name, tuple(samples)), name, tuple(skipped), tuple(k for k in captions if k not in used)
    )
