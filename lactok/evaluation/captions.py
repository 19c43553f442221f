"""Files of captions: of data sets, of pictures that are scored, of prompts for generators. One reader for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lactok import outside_text
from lactok.errors import WrongValue
from lactok.evaluation.names import normalised
from lactok.outside_text import json_object, lines, shown

ENDINGS = (".txt", ".json")  # of captions beside pictures, in a folder or a shard; the first is looked for first
KEYS = ("caption", "prompt", "text")  # of a .json beside a picture; the first that is there is taken


def read(path: Path) -> dict[str, str]:
    """Read a file of captions; return the captions by the name of the picture's file.

    Args:
        path: a .tsv file with lines of name, tab, caption; a .jsonl file with objects of "file_name" and "caption" (or
            "prompt"); or a .json file with an object of captions by name, or with COCO's annotations, of which each
            image gets the caption with the lowest annotation id.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: it has another ending or cannot be parsed, has a name twice (also if only its Unicode form differs),
            or a caption that is not a text.
    """
    readers = {".tsv": _tsv, ".jsonl": _jsonl, ".json": _json}
    name = shown(path, 200)
    if path.suffix.lower() not in readers:
        raise WrongValue(f"`captions` {name}: a file that ends in {', '.join(readers)}, or coco")
    captions = _Captions()
    readers[path.suffix.lower()](captions, name, outside_text.read(path, f"captions {name}"))
    if not captions.found:
        raise WrongValue(f"{name} holds no captions")
    return captions.found


class _Captions:
    """The captions that are read so far.

    Attributes:
        found: the captions by the name of the picture's file.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._names: set[str] = set()

    def add(self, where: str, name: object, caption: object) -> None:
        """Add a caption; raise WrongValue, which names `where` it stands, for a name that is wrong or there already."""
        if not isinstance(name, str) or not PurePosixPath(name).name:
            raise WrongValue(f"{where}: no file name")
        if normalised(name) in self._names:
            raise WrongValue(f"{where}: {shown(name)} has a caption already; leave one of them out")
        self._names.add(normalised(name))
        self.found[name] = clean(where, caption)


def clean(where: str, caption: object) -> str:
    """Return a caption with single spaces between its words.

    Args:
        where: what messages call the place of the caption.

    Raises:
        WrongValue: the caption is not a text, or is empty.
    """
    text = " ".join(caption.split()) if isinstance(caption, str) else ""
    if not text:
        raise WrongValue(f"{where}: its caption is not a text: {_short(caption)}")
    return text


def beside(data: bytes, ending: str, where: str) -> str:
    """Return the caption that a file beside a picture holds, on one line; "" if it holds none.

    Args:
        data: the file's bytes.
        ending: ".txt" for a text; ".json" for an object with one of `KEYS`.
        where: what messages call the caption.

    Raises:
        WrongValue: it is no text, or no JSON object.

    >>> beside(b'{"caption": "a  red bus "}', ".json", "0.json")
    'a red bus'
    """
    text = outside_text.decode(data, where)
    if ending == ".json":
        content = json_object(text, where)
        value = next((content[key] for key in KEYS if content.get(key)), "")
        if not isinstance(value, str):
            raise WrongValue(f"{where} is not a text")
        text = value
    return " ".join(text.split())


def _short(value: object) -> str:
    """Return a value of a JSON file for a message; of lists and objects only what they are."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shown(repr(value))


def _tsv(captions: _Captions, file: str, text: str) -> None:
    """Parse lines of file name, tab, caption."""
    for where, line in lines(text, file):
        name, tab, caption = line.partition("\t")
        if not tab:
            raise WrongValue(f"{where}: no tab between file name and caption")
        captions.add(where, name, caption)


def _jsonl(captions: _Captions, file: str, text: str) -> None:
    """Parse lines of JSON objects with a "file_name" and a "caption" or "prompt"."""
    for where, line in lines(text, file):
        entry = json_object(line, where)
        captions.add(where, entry.get("file_name"), entry.get("caption", entry.get("prompt")))


def _json(captions: _Captions, file: str, text: str) -> None:
    """Parse a JSON object: captions by file name, or COCO's annotations."""
    content = outside_text.from_json(text, file)
    if not isinstance(content, dict):
        raise WrongValue(f"{file}: not a JSON object of captions by file name")
    if isinstance(content.get("annotations"), list):
        _coco_annotations(captions, file, content)
        return
    for name, caption in content.items():
        captions.add(f"{file}: {shown(name)}", name, caption)


def _coco_annotations(captions: _Captions, file: str, content: Mapping[str, Any]) -> None:
    """Take one caption per image of COCO's annotations, that of the lowest annotation id, sorted by file name."""
    first: dict[int, tuple[int, object]] = {}  # by image id: annotation id, caption
    names: dict[int, object] = {}
    try:
        for image in content["images"]:
            if names.setdefault(int(image["id"]), image["file_name"]) != image["file_name"]:
                raise ValueError(f"two images have the id {image['id']!r:.20}")
        for annotation in content["annotations"]:
            image_id, annotation_id = int(annotation["image_id"]), int(annotation["id"])
            caption = annotation["caption"]
            if image_id not in first or annotation_id < first[image_id][0]:
                first[image_id] = (annotation_id, caption)
    except (KeyError, TypeError, ValueError) as error:
        raise WrongValue(f"{file} is not a file of COCO captions ({shown(repr(error), 80)})") from error
    chosen = [(name, first[image_id][1]) for image_id, name in names.items() if image_id in first]
    for name, caption in sorted(chosen, key=lambda pair: str(pair[0])):
        captions.add(f"{file}: {shown(name)}", name, caption)
