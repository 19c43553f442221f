"""Read captions of pictures, from files, COCO's annotations or GenEval's folders, and match them with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lactok import outside_text
from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.captions import clean, read
from lactok.evaluation.datasets import (
    Dataset,
    Sample,
    data_folder,
    id_of,
    limited,
    named_by_content,
    samples_under,
)
from lactok.evaluation.folders import is_hidden
from lactok.evaluation.names import HOW_MATCHED, matched
from lactok.evaluation.protocol import digest
from lactok.evaluation.published_sets import coco_captions
from lactok.files import is_file
from lactok.images import EXTENSIONS
from lactok.outside_text import json_object, shown

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


def coco(data_dir: Path | None = None) -> dict[str, str]:
    """Read one caption per image of COCO 2017 val, by file name: of its five, that of the lowest annotation id.

    Papers seldom say which of the five they used; this choice is one that anybody can repeat.

    Args:
        data_dir: the folder of data sets, by default the one that `lactok.evaluation.datasets.data_folder` finds.

    Raises:
        MissingFile: the annotations are not in the folder of data sets.
        WrongValue: they cannot be parsed.
    """
    folder = data_folder("coco", data_dir)
    path, found = folder / COCO_FILE, coco_captions(folder)
    if found is None:
        raise MissingFile(
            f"COCO's captions are not in {path}: put captions_val2017.json of annotations_trainval2017.zip "
            "(cocodataset.org) there, set LACTOK_DATA to the folder that coco is in, or name `captions` FILE"
        )
    return read(found)


def load(source: str) -> tuple[str, dict[str, str]]:
    """Return a name for the captions that `--captions` asks for, and the captions by file name.

    Args:
        source: "coco", or the path of a file for `read`.
    """
    found = coco() if source == "coco" else read(Path(source))
    return f"{Path(source).stem}-{digest(found)[:6]}", found


def pictures(root: Path, source: str | None = None, needed: bool = True, limit: int | None = None) -> Captioned:
    """Find the pictures under a folder and their captions.

    Args:
        root: a folder in GenEval's layout (`00000/metadata.jsonl`, whose "prompt" is the caption, and
            `00000/samples/*.png`), or any other folder of pictures.
        source: captions for any other folder, see `load`; by default its own `captions.json`. A caption belongs to the
            picture of the same name, or else to the only one of that name with another ending, see `matched`.
        needed: whether captions are needed; if so, pictures without one are left out.
        limit: take only this many pictures, a fixed random choice; None for all.

    Raises:
        MissingFile: a file of captions is not there.
        WrongValue: there are no pictures, no captions that are needed, captions that cannot be parsed, or one that
            could be of several pictures.
    """
    folders = [path for path in sorted(root.glob("*/metadata.jsonl")) if not is_hidden(path.parent.name)]
    if folders:
        if source is not None:
            raise WrongValue(f"{root} has captions in its own metadata.jsonl files; leave `captions` out")
        return of_prompts(root, folders, limit)
    if source is None and is_file(root / "captions.json"):
        source = str(root / "captions.json")
    if source is None and needed:
        raise WrongValue(f"{root} has no captions: put captions.json into it or name `captions` FILE (or coco)")
    every = samples_under(root)
    captioned = Captioned(Dataset(root.name, every), "no-captions")
    if source is not None:
        captioned = _match(captioned.dataset, *load(source), needed)
    chosen = limited(captioned.dataset.samples, limit)
    # the name is that of the folder as a data set; of a choice, only the pictures that are chosen are read for it
    named = named_by_content(root.resolve().name, every if chosen is captioned.dataset.samples else chosen)
    return replace(captioned, dataset=Dataset(named.name, chosen))


def of_prompts(root: Path, metadata_files: Sequence[Path], limit: int | None = None) -> Captioned:
    """Find the pictures and captions of a folder in GenEval's layout.

    Args:
        root: the folder.
        metadata_files: the `metadata.jsonl` of the prompts whose pictures are taken.
        limit: take only this many pictures, a fixed random choice; None for all.

    Raises:
        WrongValue: there are no pictures, or the metadata of a prompt cannot be parsed.
    """
    samples, without_picture, prompts = [], [], []
    for path in metadata_files:
        entry = json_object(outside_text.read(path), shown(path, 200))
        caption = clean(shown(path, 200), entry.get("prompt"))
        prompts.append(caption)
        files = [p for p in sorted(path.parent.glob("samples/*")) if p.suffix.lower() in EXTENSIONS]
        files = [p for p in files if is_file(p) and not is_hidden(p.name)]
        samples += [Sample(id_of(p, root), p, caption) for p in files]
        if not files:
            without_picture.append(id_of(path.parent, root))
    if not samples:
        first = metadata_files[0].parent / "samples"
        raise WrongValue(f"{root} holds no pictures: nothing in {first} and beside it")
    chosen = limited(tuple(sorted(samples, key=lambda s: s.id)), limit)
    dataset = named_by_content(root.resolve().name, chosen)
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
            samples.append(replace(sample, caption=captions[name_of_caption]))
        elif needed:
            skipped.append((sample.id, "no caption"))
        else:
            samples.append(replace(sample, caption=None))
    if not samples:
        raise WrongValue(
            f"none of the {len(found.samples)} pictures has a caption: {found.samples[0].id} is not among the names "
            f"of the captions ({next(iter(captions))}, ...); {HOW_MATCHED}"
        )
    used = set(of_picture.values())
    without_picture = tuple(name for name in captions if name not in used)
    return Captioned(Dataset(found.name, tuple(samples)), source, tuple(skipped), without_picture)
