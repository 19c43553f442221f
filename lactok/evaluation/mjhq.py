"""MJHQ-5K: 5,000 images of MJHQ-30K, 500 of each category, chosen by their files' own names.

The paper's own choice is not listed anywhere. This one does not depend on where and how the images are kept.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from lactok import outside_text
from lactok.errors import WrongValue
from lactok.evaluation.candidates import Candidate, NotPublished, as_samples, candidates, unique
from lactok.evaluation.folders import files_under
from lactok.evaluation.names import normalised
from lactok.evaluation.samples import Sample
from lactok.files import is_file
from lactok.outside_text import shown

CATEGORIES = ("animals", "art", "fashion", "food", "indoor", "landscape", "logo", "people", "plants", "vehicles")
EACH, CHOSEN = 3_000, 500  # images of a category, and how many of them are chosen
SEED = 0
META = "meta_data.json"  # the category and the prompt of each image, by the file's name without its ending


def find(root: Path) -> tuple[Sample, ...]:
    """Return MJHQ-5K of the images of MJHQ-30K under a folder; ids are category/file name.

    The category is the name of a folder that an image lies in, at whatever depth, the label that the hub's Parquet
    files give it, or what meta_data.json says. That file also gives the captions, if it lies there at any depth.

    Raises:
        NotPublished: there are not 3,000 images of each of the ten categories, each once.
    """
    meta = _meta(root)
    problem = "it holds no images"
    for some in candidates(root):
        if not some:
            continue
        categories: dict[str, list[tuple[str, Candidate]]] = {name: [] for name in CATEGORIES}
        for one in some:
            category = _category(one, meta)
            if category is None:
                problem = f"{one.place} is of none of the categories {', '.join(CATEGORIES)}"
                break
            if not one.is_named:
                problem = f"{shown(one.path, 200)} has no file names, by which images are chosen; get mjhq30k_imgs.zip"
                break
            categories[category].append((f"{category}/{normalised(one.own_name)}", one))
        else:
            return _chosen(categories, meta)
    raise NotPublished(problem)


def _chosen(categories: dict[str, list[tuple[str, Candidate]]], meta: dict[str, dict[str, str]]) -> tuple[Sample, ...]:
    """Return the choice of each category: those files whose names, after the seed, have the lowest hashes.

    Args:
        categories: the ids and images of each category.
        meta: what `_meta` returns.

    Raises:
        NotPublished: the number of a category's images is wrong, or an id occurs twice.
    """
    chosen: dict[str, Candidate] = {}
    for category, found in categories.items():
        by_id = unique(found)
        if len(by_id) != EACH:
            raise NotPublished(f"it holds {len(by_id)} images of the category {category}, not {EACH}")
        chosen |= {i: by_id[i] for i in sorted(by_id, key=_rank)[:CHOSEN]}
    prompts = {i: text for i in chosen if (text := " ".join(meta.get(_stem(i), {}).get("prompt", "").split()))}
    return as_samples(chosen, prompts)


def _rank(identifier: str) -> bytes:
    """Return the hash by which an image is chosen: of the seed and the file's own name, without folders and ending.

    The hub's two forms of the data set, a zip and Parquet files, may differ in the ending.
    """
    return hashlib.sha256(f"{SEED} {_stem(identifier)}".encode()).digest()


def _stem(name: str) -> str:
    """Return a file's name without folders and ending."""
    return PurePosixPath(name).stem


def _category(one: Candidate, meta: dict[str, dict[str, str]]) -> str | None:
    """Return an image's category, None if nothing tells it."""
    for name in (one.label, *reversed(PurePosixPath(one.name).parts[:-1])):
        if name.lower() in CATEGORIES:
            return name.lower()
    said = meta.get(_stem(one.own_name), {}).get("category", "")
    return said if said in CATEGORIES else None


def _meta(root: Path) -> dict[str, dict[str, str]]:
    """Return what meta_data.json says of each image, by its name without ending; nothing where there is no such file.

    Raises:
        WrongValue: the file is damaged.
    """
    path = root / META
    if not is_file(path):
        nested = [file for file in files_under(root, (META,)) if file.name == META]
        if not nested:
            return {}
        path = nested[0]
    name = shown(path, 200)
    found = outside_text.json_object(outside_text.read(path), name)
    entries = {key: value for key, value in found.items() if isinstance(value, dict)}
    if len(entries) != len(found):
        raise WrongValue(f"{name}: an object with category and prompt for each image is wanted")
    return {normalised(key): {k: v for k, v in value.items() if isinstance(v, str)} for key, value in entries.items()}
