"""The published data sets that users get by themselves: what they are, and finding and checking them in a folder.

A published set is found at any usual layout, has the same ids and so the same choice of `limit` everywhere, and is
checked by its names and numbers. What is not the published set never bears its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from lactok.errors import MissingFile, first_few
from lactok.evaluation import captions, flux5k, mjhq
from lactok.evaluation.candidates import (
    Candidate,
    NotPublished,
    as_samples,
    candidates,
    is_other_part,
    is_validation,
    unique,
)
from lactok.evaluation.folders import files_under
from lactok.evaluation.protocol import digest
from lactok.evaluation.samples import Sample, limited
from lactok.files import is_folder
from lactok.outside_text import shown

_IMAGENET = re.compile(r"ILSVRC2012_val_(\d{8})(?:_n\d{8})?\.JPEG", re.IGNORECASE)
_IMAGENET_TRAIN = re.compile(r"n\d{8}_\d+\.JPEG", re.IGNORECASE)
_COCO = re.compile(r"\d{12}\.jpg", re.IGNORECASE)
COCO_ENDS = "000000000139.jpg", "000000581781.jpg"  # the first and the last image of val2017
COCO_CAPTIONS = "captions_val2017.json"


@dataclass(frozen=True)
class Published:
    """A data set that users have to get by themselves.

    Attributes:
        name: its name for `dataset`, and the name of its folder.
        title: what it is.
        size: the number of images that are used.
        recipe: what to put into the folder; the message about a missing folder says it.
        gigabytes: the size of that, roughly.
        licence: who may use it for what.
        find: returns its samples under a folder, or raises NotPublished.
        list_sha256: the digest of the list of its ids, where that is known without the images.
        contents: checks samples that are going to be used by their bytes, and raises NotPublished.
    """

    name: str
    title: str
    size: int
    recipe: str
    gigabytes: float
    licence: str
    find: Callable[[Path], tuple[Sample, ...]]
    list_sha256: str = ""
    contents: Callable[[Path, Sequence[Sample]], None] | None = None


def imagenet(root: Path) -> tuple[Sample, ...]:
    """Return ImageNet's 50,000 validation images, known by their names ILSVRC2012_val_00000001.JPEG to ...50000.JPEG.

    They may lie in one folder, in a folder a class, or in ILSVRC2012_img_val.tar; folders of training images are not
    looked into. The hub's Parquet files add the class to the names, which is left out of the ids.

    Raises:
        NotPublished: these are not all and only these, each once.
    """
    others = 0
    for some in candidates(root, is_other_part, is_validation):
        found = [
            (f"ILSVRC2012_val_{match[1]}.JPEG", one) for one in some if (match := _IMAGENET.fullmatch(one.own_name))
        ]
        if found:
            by_id = unique(found)
            wanted = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, PUBLISHED["imagenet"].size + 1)]
            _check_names(by_id.keys(), wanted)
            return as_samples(by_id)
        others = others or len(some)
        if any(_IMAGENET_TRAIN.fullmatch(one.own_name) for one in some[:1000]):
            raise NotPublished(f"it holds training images, such as {shown(some[0].name)}, and no ILSVRC2012_val_*.JPEG")
    what = f"{others} images, and none of them is called" if others else "no images that are called"
    raise NotPublished(f"it holds {what} ILSVRC2012_val_*.JPEG")


def coco(root: Path) -> tuple[Sample, ...]:
    """Return the 5,000 images of COCO's val2017, with one caption each where the annotations lie in the folder too.

    They may lie in a folder val2017 or val at any depth, in val2017.zip, or in the folder itself; other parts are not
    looked into. Images of all parts have names of twelve digits, so the number of images, the first and the last are
    checked, and against captions_val2017.json, if it is there, all.

    Raises:
        NotPublished: these are not all and only these, each once.
    """
    for some in candidates(root, is_other_part, is_validation):
        found = [one for one in some if _COCO.fullmatch(one.own_name)]
        part = [one for one in found if one.member is not None or any(map(is_validation, one.name.split("/")[:-1]))]
        if part or found:
            return _checked_coco(unique([(one.own_name.lower(), one) for one in part or found]), root)
    raise NotPublished("it holds no images of names with twelve digits, such as val2017/000000000139.jpg")


def _checked_coco(by_id: dict[str, Candidate], root: Path) -> tuple[Sample, ...]:
    """Return what was found as samples, after it was checked as `coco` says."""
    texts: dict[str, str] = {}
    annotations = coco_captions(root)
    if annotations is not None:
        texts = captions.read(annotations)
        _check_names(by_id.keys(), list(texts))
    size = PUBLISHED["coco"].size
    if len(by_id) != size:
        raise NotPublished(f"it holds {len(by_id)} images of names with twelve digits, not {size}")
    if (min(by_id), max(by_id)) != COCO_ENDS:
        ends, wanted = f"{min(by_id)} to {max(by_id)}", " to ".join(COCO_ENDS)
        raise NotPublished(f"its images are {ends}, those of val2017 are {wanted}: another part of COCO?")
    return as_samples(by_id, texts)


def coco_captions(root: Path) -> Path | None:
    """Return where COCO's captions_val2017.json lies under a folder, None if it does not."""
    usual = root / "annotations" / COCO_CAPTIONS
    if usual.is_file():
        return usual
    return next(iter(files_under(root, (COCO_CAPTIONS,), is_other_part)), None) if is_folder(root) else None


def _check_names(found: Collection[str], wanted: Sequence[str]) -> None:
    """Raise NotPublished unless the names that were found are those that are wanted."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise NotPublished(
            f"it holds {len(wanted) - len(missing)} of the {len(wanted)} images; missing are {first_few(missing, 2)}"
        )
    strange = sorted(set(found) - set(wanted))
    if strange:
        raise NotPublished(f"it holds {len(strange)} images too many, such as {strange[0]}")


PUBLISHED = {
    p.name: p
    for p in (
        Published(
            "imagenet",
            "the validation images of ImageNet (ILSVRC 2012)",
            50_000,
            "ILSVRC2012 validation images (image-net.org), 50,000 JPEG files",
            6.7,
            "non-commercial research, after registration at image-net.org",
            imagenet,
            list_sha256="975b64c2bc10cbfe9f65c1b3f08591ac47ccf89cadf578e37a2e06f05ee3d3e0",
        ),
        Published(
            "coco",
            "the images of COCO 2017 val",
            5_000,
            "val2017.zip of COCO 2017 (cocodataset.org), 5,000 JPEG files",
            0.8,
            "annotations CC BY 4.0; the images under the terms of Flickr",
            coco,
        ),
        Published(
            "mjhq",
            "MJHQ-30K, of which 500 images a category are taken",
            5_000,
            "the 30,000 images of MJHQ-30K (hub: playgroundai/MJHQ-30K), a folder a category,",
            3.6,
            "Playground v2.5 Community License; pictures made with Midjourney",
            mjhq.find,
        ),
        Published(
            "flux5k",
            "FLUX-5K as this project makes it",
            5_000,
            "the pictures of `python -m benchmarks.datasets make flux5k` (the authors' own are not public)",
            7.5,
            "FLUX.1 [dev] Non-Commercial License",
            flux5k.find,
            contents=flux5k.check_contents,
        ),
    )
}


def check_folder(name: str, root: Path) -> None:
    """Raise MissingFile if there is no folder of a published set; the message says how to get the set."""
    if not is_folder(root):
        raise MissingFile(
            f"data set {name} is not in {root}: put {PUBLISHED[name].recipe} there, or set LACTOK_DATA to the folder "
            f"that {name} is in; `python -m benchmarks.datasets fetch {name}` gets it, or says how"
        )


def samples_of(name: str, root: Path, limit: int | None = None) -> tuple[Sample, ...]:
    """Return the samples of a published set, or a fixed random choice of `limit` of them.

    Args:
        name: one of `PUBLISHED`.
        root: the folder where it is kept.
        limit: take only this many samples; None for all. All names are checked anyway.

    Raises:
        MissingFile: there is no such folder.
        NotPublished: it holds something else; the message says what, and how to use that as it is.
    """
    wanted = PUBLISHED[name]
    check_folder(name, root)
    try:
        samples = wanted.find(root)
        if wanted.list_sha256 and digest([sample.id for sample in samples]) != wanted.list_sha256:
            raise NotPublished("the digest of the list of its images is another one")
        chosen = limited(samples, limit)
        if wanted.contents is not None:
            wanted.contents(root, chosen)
    except NotPublished as error:
        raise NotPublished(
            f"{shown(root, 200)} is not {name}, {wanted.title}: {error}. Name the folder itself to use what is in it "
            "under a name of its own"
        ) from error
    return chosen
