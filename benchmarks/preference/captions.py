"""Read captions of pictures, from files, COCO's annotations or GenEval's folders, and match them with pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lactok.errors import MissingFile, WrongValue
from lactok.evaluation import datasets
from lactok.evaluation.datasets import Dataset, Sample, data_folder, id_of, named_by_content
from lactok.evaluation.names import HOW_MATCHED, matched
from lactok.evaluation.protocol import digest
from lactok.images import EXTENSIONS

COCO_FILE = Path("annotations") / "captions_val2017.json"


@dataclass(frozen=True)
class Captioned:
    """Pictures with their captions.

    Attributes:
        dataset: the pictures; a sample's caption is None where none is needed.
        source: name of the captions, which ends in a few digits of their hash.
        skipped: ids of pictures that are left out, each with the reason.
        without_picture: names of the captions that have no picture.
    """

    dataset: Dataset
    source: str
    skipped: tuple[tuple[str, str], ...] = ()
    without_picture: tuple[str, ...] = ()


def read(path: Path) -> dict[str, str]:
    """Read a file of captions; return the captions by the name of the picture's file.

    Args:
        path: a .tsv file with lines of name, tab, caption; a .jsonl file with objects of "file_name" and "caption" (or
            "prompt"); or a .json file with an object of captions by name, or with COCO's annotations, see `coco`.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: it has another ending or cannot be parsed, has a name twice, or a caption that is not a text.
    """
    readers = {".tsv": _tsv, ".jsonl": _jsonl, ".json": _json}
    if path.suffix.lower() not in readers:
        raise WrongValue(f"`captions` {path}: a file that ends in {', '.join(readers)}, or coco")
    found = readers[path.suffix.lower()](path, _text(path))
    if not found:
        raise WrongValue(f"{path} holds no captions")
    return found


def _text(path: Path) -> str:
    """Return a file's text; raise MissingFile or WrongValue if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingFile(f"captions {path}: {error.strerror}") from error
    except ValueError as error:
        raise WrongValue(f"{path} is not UTF-8 text: {error}") from error


def _clean(where: str, caption: object) -> str:
    """Return a caption with single spaces between its words, and question marks for halves of surrogate pairs.

    JSON can hold such halves, but no text tokenizer takes them.

    Args:
        where: what messages call the place of the caption.

    Raises:
        WrongValue: the caption is not a text, or is empty.
    """
    text = ""
    if isinstance(caption, str):
        text = " ".join(caption.encode("utf-8", "replace").decode().split())
    if not text:
        raise WrongValue(f"{where}: its caption is not a text: {caption!r:.60}")
    return text


def _add(found: dict[str, str], where: str, name: object, caption: object) -> None:
    """Add a caption to those `found` so far; raise WrongValue for a wrong name or caption, or a name that is there."""
    if not isinstance(name, str) or not name:
        raise WrongValue(f"{where}: no file name")
    if name in found:
        raise WrongValue(f"{where}: {name} has a caption already; leave one of them out")
    found[name] = _clean(where, caption)


def _lines(path: Path, text: str) -> list[tuple[str, str]]:
    """Return the lines of a text that are not blank, each after what messages call its place."""
    return [(f"{path} line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _tsv(path: Path, text: str) -> dict[str, str]:
    """Parse lines of file name, tab, caption."""
    found: dict[str, str] = {}
    for where, line in _lines(path, text):
        name, tab, caption = line.rstrip("\r").partition("\t")
        if not tab:
            raise WrongValue(f"{where}: no tab between file name and caption")
        _add(found, where, name, caption)
    return found


def _jsonl(path: Path, text: str) -> dict[str, str]:
    """Parse lines of JSON objects with a "file_name" and a "caption" or "prompt"."""
    found: dict[str, str] = {}
    for where, line in _lines(path, text):
        entry = _json_object(where, line)
        _add(found, where, entry.get("file_name"), entry.get("caption", entry.get("prompt")))
    return found


def _json(path: Path, text: str) -> dict[str, str]:
    """Parse a JSON object: captions by file name, or COCO's annotations."""
    content = _json_object(str(path), text)
    if isinstance(content.get("annotations"), list):
        return _coco_annotations(path, content)
    return {name: _clean(f"{path}: {name}", caption) for name, caption in content.items()}


def _json_object(where: str, text: str) -> dict[str, Any]:
    """Parse a text as a JSON object; raise WrongValue, which names `where` it stands, if it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongValue(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WrongValue(f"{where}: not a JSON object")
    return content


def _coco_annotations(path: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """Return one caption per image of COCO's annotations, that of the lowest annotation id, sorted by file name."""
    first: dict[int, tuple[int, object]] = {}  # by image id: annotation id, caption
    try:
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        for annotation in content["annotations"]:
            image_id, annotation_id = int(annotation["image_id"]), int(annotation["id"])
            caption = annotation["caption"]
            if image_id not in first or annotation_id < first[image_id][0]:
                first[image_id] = (annotation_id, caption)
    except (KeyError, TypeError, ValueError) as error:
        raise WrongValue(f"{path} is not a file of COCO captions ({error!r})") from error
    found: dict[str, str] = {}
    for image_id, name in names.items():
        if image_id in first:
            _, caption = first[image_id]
            found[name] = _clean(f"{path}: {name}", caption)
    return dict(sorted(found.items()))


def coco(data_dir: Path | None = None) -> dict[str, str]:
    """Read one caption per image of COCO 2017 val, by file name: of its five, that of the lowest annotation id.

    Papers seldom say which of the five they used; this choice is one that anybody can repeat.

    Args:
        data_dir: the folder of data sets, by default the one that `lactok.evaluation.datasets.data_folder` finds.

    Raises:
        MissingFile: the annotations are not in the folder of data sets.
        WrongValue: they cannot be parsed.
    """
    path = data_folder("coco", data_dir) / COCO_FILE
    if not path.is_file():
        raise MissingFile(
            f"COCO's captions are not in {path}: put captions_val2017.json of annotations_trainval2017.zip "
            "(cocodataset.org) there, set LACTOK_DATA, or name `captions` FILE"
        )
    return read(path)


def load(source: str) -> tuple[str, dict[str, str]]:
    """Return a name for the captions that `--captions` asks for, and the captions by file name.

    Args:
        source: "coco", or the path of a file for `read`.
    """
    found = coco() if source == "coco" else read(Path(source))
    return f"{Path(source).stem}-{digest(found)[:6]}", found


def pictures(root: Path, source: str | None = None, needed: bool = True) -> Captioned:
    """Find the pictures under a folder and their captions.

    Args:
        root: a folder in GenEval's layout (`00000/metadata.jsonl`, whose "prompt" is the caption, and
            `00000/samples/*.png`), or any other folder of pictures.
        source: captions for any other folder, see `load`; by default its own `captions.json`. A caption belongs to the
            picture of the same name, or else to the only one of that name with another ending, see `matched`.
        needed: whether captions are needed; if so, pictures without one are left out.

    Raises:
        MissingFile: a file of captions is not there.
        WrongValue: there are no pictures, no captions that are needed, captions that cannot be parsed, or one that
            could be of several pictures.
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
    name, captions = load(source)
    return _match(found, name, captions, needed)


def _geneval(root: Path, metadata_files: list[Path]) -> Captioned:
    """Find the pictures and captions of a folder in GenEval's layout, from the metadata files of its prompts."""
    samples, without_picture, prompts = [], [], []
    for path in metadata_files:
        entry = _json_object(str(path), _text(path))
        caption = _clean(str(path), entry.get("prompt"))
        prompts.append(caption)
        inside = path.parent / "samples"
        files = sorted(p for p in inside.glob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
        samples += [Sample(id_of(p, root), p, caption) for p in files]
        if not files:
            without_picture.append(id_of(path.parent, root))
    if not samples:
        first = metadata_files[0].parent / "samples"
        raise WrongValue(f"{root} holds no pictures: nothing in {first} and beside it")
    dataset = named_by_content(root.resolve().name, tuple(sorted(samples, key=lambda s: s.id)))
    return Captioned(dataset, f"prompts-{digest(prompts)[:6]}", (), tuple(without_picture))


def _match(found: Dataset, source: str, captions: Mapping[str, str], needed: bool) -> Captioned:
    """Give pictures their captions, by the rule of `pictures`.

    Args:
        found: the pictures.
        source: name of the captions.
        captions: the captions by the name of the picture's file.
        needed: whether pictures without a caption are left out.

    Raises:
        WrongValue: captions are needed and no picture has one, or a caption could be of several pictures.
    """
    of_picture = matched([sample.id for sample in found.samples], captions, "captions of")
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for sample in found.samples:
        name_of_caption = of_picture.get(sample.id)
        if name_of_caption is not None:
            samples.append(Sample(sample.id, sample.path, captions[name_of_caption]))
        elif needed:
            skipped.append((sample.id, "no caption"))
        else:
            samples.append(Sample(sample.id, sample.path))
    if not samples:
        raise WrongValue(
            f"none of the {len(found.samples)} pictures has a caption: {found.samples[0].id} is not among the names "
            f"of the captions ({next(iter(captions))}, ...); {HOW_MATCHED}"
        )
    used = set(of_picture.values())
    without_picture = tuple(name for name in captions if name not in used)
    return Captioned(Dataset(found.name, tuple(samples)), source, tuple(skipped), without_picture)
