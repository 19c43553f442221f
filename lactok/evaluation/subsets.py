"""Subsets of a data set's images: by COCO's annotations, by a user's own lists, or by the folders they lie in.

`docs/ids-and-errors.md` defines COCO's subsets: people, text-like objects, small objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lactok.errors import MissingFile, WrongValue, first_few
from lactok.evaluation.names import normalised, stem
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.stored_files import read_json
from lactok.files import is_file
from lactok.outside_text import shown

FOLDERS = "folders"  # the word that stands for subsets by folder
MOST = 100  # subsets that a table can have
ALL = "all"  # the row of all images
REST = "the others"  # that of the images in no subset
TEXT_LIKE = ("stop sign", "parking meter", "book", "clock", "keyboard", "bus")
SMALL = 32**2  # pixels of COCO's images: the area below which COCO's evaluation calls an object small
PEOPLE_SHARE = 0.05  # of an image's area, from which on it is one of people
TEXT_SHARE = 0.01  # of an image's area, from which on objects that bear text count
FEWEST_OBJECTS = 3  # in an image of small objects


@dataclass(frozen=True)
class Subsets:
    """Named sets of images.

    Attributes:
        source: where they come from, for a title.
        members: by the subset's name, the names of its images; None where the folder of an image is its subset.
        notes: what a reader must know of them.
    """

    source: str
    members: Mapping[str, frozenset[str]] | None
    notes: tuple[str, ...] = ()

    def of(self, samples: Sequence[str]) -> dict[str, np.ndarray]:
        """Return for each subset which of the samples it holds, (n,) bool; last those that are in none, if there are.

        A name belongs to the sample of the same name, else to the one whose name ends with it, else to the one of the
        same name without folders and ending. Subsets without any sample are left out.

        Raises:
            WrongValue: no sample is in a subset, a name belongs to several samples, or there are too many folders.
        """
        found = self._by_folder(samples) if self.members is None else self._by_name(samples, self.members)
        if not found:
            raise WrongValue(f"subsets of {self.source}: none of their images is among {first_few(list(samples), 3)}")
        rest = ~np.any(list(found.values()), axis=0)
        if rest.any():
            found[REST] = rest
        return found

    def _by_folder(self, samples: Sequence[str]) -> dict[str, np.ndarray]:
        folders = np.array([sample.partition("/")[0] if "/" in sample else "" for sample in samples])
        names = sorted(set(folders.tolist()) - {""})
        if len(names) > MOST:
            raise WrongValue(f"the images lie in {len(names)} folders; name {MOST} subsets at most, in a JSON file")
        return {name: folders == name for name in names}

    def _by_name(self, samples: Sequence[str], members: Mapping[str, frozenset[str]]) -> dict[str, np.ndarray]:
        exact = {normalised(sample): i for i, sample in enumerate(samples)}
        plain: dict[str, list[int]] = {}
        for i, sample in enumerate(samples):
            plain.setdefault(_plain(sample), []).append(i)
        found = {}
        for name, images in members.items():
            inside = np.zeros(len(samples), bool)
            for image in images:
                places = self._places(image, samples, exact, plain)
                inside[places] = True
            if inside.any():
                found[name] = inside
        return found

    def _places(
        self, image: str, samples: Sequence[str], exact: Mapping[str, int], plain: Mapping[str, Sequence[int]]
    ) -> list[int]:
        """Return where the sample of a name stands, nothing where there is none."""
        if normalised(image) in exact:
            return [exact[normalised(image)]]
        near = list(plain.get(_plain(image), ()))
        if len(near) > 1:
            near = [i for i in near if f"/{stem(samples[i])}".endswith(f"/{stem(image)}")]
        if len(near) > 1:
            raise WrongValue(
                f"subsets of {self.source}: {shown(image, 80)} could be {first_few([samples[i] for i in near], 3)}; "
                "write the folder too"
            )
        return near


def _plain(name: str) -> str:
    """Return a name without folders and ending."""
    return stem(name).rpartition("/")[2]


def read(source: str) -> Subsets:
    """Return the subsets that a file defines.

    Args:
        source: COCO's annotations of objects, as `instances_val2017.json`; a JSON file {name: [names of images]}; or
            the word `folders`, for the folders that the images lie in.

    Raises:
        MissingFile: there is no such file.
        WrongValue: it holds something else.
    """
    if source == FOLDERS:
        return Subsets("folders", None, ("A subset is the first folder of an image's name.",))
    path = Path(source)
    if not is_file(path):
        raise MissingFile(
            f"`subsets` {shown(source, 200)}: no such file; name instances_val2017.json, a JSON file of names of "
            f"images by subset, or `{FOLDERS}`"
        )
    try:
        content = read_json(path)
    except Damaged as error:
        raise WrongValue(f"`subsets`: {error}") from error
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        try:
            return _of_coco(path.name, content)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise WrongValue(
                f"`subsets` {shown(path.name, 80)}: not as COCO's annotations of objects are "
                f"({type(error).__name__}: {shown(str(error), 80)})"
            ) from error
    return _of_lists(path.name, content)


def _of_lists(name: str, content: Any) -> Subsets:
    """Return a user's own subsets; raise WrongValue unless the content is {name: [names of images]}."""
    is_lists = isinstance(content, dict) and all(
        isinstance(images, list) and all(isinstance(image, str) for image in images) for images in content.values()
    )
    if not is_lists or not content:
        raise WrongValue(
            f"`subsets` {shown(name, 80)}: neither COCO's annotations of objects nor names of images by subset, "
            '{"cats": ["a.jpg", ...], ...}'
        )
    if len(content) > MOST:
        raise WrongValue(f"`subsets` {shown(name, 80)} has {len(content)} subsets; {MOST} is the most")
    for word, what in ((REST, "the images in no subset"), (ALL, "all images of the data set")):
        if word in content:
            raise WrongValue(f"`subsets` {shown(name, 80)}: {word!r} are {what}; name yours otherwise")
    return Subsets(name, {subset: frozenset(images) for subset, images in content.items()})


def _of_coco(name: str, content: Mapping[str, Any]) -> Subsets:
    """Return the subsets by COCO's annotations."""
    categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
    objects: dict[Any, list[tuple[str, float, bool]]] = {entry["id"]: [] for entry in content["images"]}
    for entry in content["annotations"]:
        if entry["image_id"] in objects:
            known = categories[entry["category_id"]], float(entry["area"]), bool(entry.get("iscrowd", 0))
            objects[entry["image_id"]].append(known)
    members: dict[str, set[str]] = {subset: set() for subset in COCO}
    for entry in content["images"]:
        area = float(entry["width"]) * float(entry["height"])
        if area <= 0:
            raise ValueError(f"the area of {entry['file_name']} is {area}")
        for subset, holds in COCO.items():
            if holds(objects[entry["id"]], area):
                members[subset].add(str(entry["file_name"]))
    return Subsets(name, {subset: frozenset(images) for subset, images in members.items()}, COCO_NOTES)


Objects = Sequence[tuple[str, float, bool]]  # category, area in pixels, whether it is a crowd


def _has_people(objects: Objects, area: float) -> bool:
    return sum(a for category, a, _ in objects if category == "person") >= PEOPLE_SHARE * area


def _has_text(objects: Objects, area: float) -> bool:
    return sum(a for category, a, _ in objects if category in TEXT_LIKE) >= TEXT_SHARE * area


def _has_small_objects(objects: Objects, _area: float) -> bool:
    areas = [a for _, a, is_crowd in objects if not is_crowd]
    return len(areas) >= FEWEST_OBJECTS and 2 * sum(a < SMALL for a in areas) > len(areas)


COCO: Mapping[str, Callable[[Objects, float], bool]] = {
    "people": _has_people,
    "text-like": _has_text,
    "small objects": _has_small_objects,
}
COCO_NOTES = (
    f"people: persons cover {100 * PEOPLE_SHARE:.0f} % of the image or more; text-like: {', '.join(TEXT_LIKE)} cover "
    f"{100 * TEXT_SHARE:.0f} % or more, objects that often bear writing, since COCO does not annotate writing itself; "
    f"small objects: {FEWEST_OBJECTS} objects or more, over half of them below 32 x 32 pixels of COCO's image.",
    "Areas are of COCO's whole image, of which the protocol may have cut off the sides. An image can be in several.",
)
