"""Fetching data sets: COCO's validation images and captions, MJHQ-30K; and what to do for those that nobody may give.

A broken transfer goes on where it was, and nothing is put into the data set's folder before its digest is right.
"""

from __future__ import annotations

import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmarks.datasets.transfer import transfer
from lactok.errors import UserError, disk_errors
from lactok.evaluation.published_sets import PUBLISHED, coco, samples_of
from lactok.files import copy_atomically, is_file, replacing, write_atomically
from lactok.specs import Hub
from lactok.weights.cache import sha256
from lactok.weights.download import BrokenTransfer, Refused, Unreachable

HALF_DONE = ".fetching"  # in the data set's folder: what has not arrived whole
MJHQ = "playgroundai/MJHQ-30K"
MJHQ_FILES = "mjhq30k_imgs.zip", "meta_data.json"
HOW = {
    "imagenet": "imagenet may not be passed on: register at image-net.org, download ILSVRC2012_img_val.tar (6.7 GB), "
    "and put it, or what is in it, into {root}",
    "flux5k": "flux5k is not public: `python -m benchmarks.datasets make flux5k` makes one with FLUX.1-dev",
}
logger = logging.getLogger("lactok.datasets")


@dataclass(frozen=True)
class Archive:
    """A file of COCO.

    Attributes:
        url: its address.
        sha256: its digest.
        members: what is taken out of it, by name; nothing to keep it as it is, since images are read from archives.
    """

    url: str
    sha256: str
    members: tuple[str, ...] = ()


COCO = (
    Archive(
        "http://images.cocodataset.org/zips/val2017.zip",
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    Archive(
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ("annotations/captions_val2017.json", "annotations/instances_val2017.json"),
    ),
)


def fetch(name: str, root: Path) -> str:
    """Fetch a published set into its folder, check it, and return a line that says what is there now.

    Args:
        name: the set.
        root: its folder; what is in it already is kept.

    Raises:
        UserError: the set may not be passed on, the host does not give it, or what arrived is not the set.
        DiskError: the disk is full.
    """
    if name in HOW:
        raise UserError(HOW[name].format(root=root))
    with disk_errors(root, "choose another folder by `data` or LACTOK_DATA"):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{HALF_DONE}.lock"):  # a second command waits, and then finds what the first one brought
            (_coco if name == "coco" else _mjhq)(root)
            half_done = root / HALF_DONE
            if half_done.is_dir() and not any(half_done.iterdir()):
                half_done.rmdir()
    found = samples_of(name, root)
    return f"{name} is in {root}: {len(found)} images, {PUBLISHED[name].title}"


def _coco(root: Path) -> None:
    """Fetch val2017.zip, and of the annotations the files of the validation images."""
    for one in COCO:
        name = one.url.rpartition("/")[2]
        wanted = one.members or (name,)
        if all(is_file(root / path) for path in wanted):
            logger.info("%s is here already", ", ".join(wanted))
            continue
        if not one.members and _has_images(root):
            logger.info("the images are here already")
            continue
        arrived = transfer(one.url, root / HALF_DONE / name, one.sha256)
        if one.members:
            _take(arrived, one.members, root)
            arrived.unlink()
        else:
            os.replace(arrived, root / name)


def _has_images(root: Path) -> bool:
    """Return whether COCO's images lie in a folder, in whatever layout."""
    try:
        return bool(coco(root))
    except UserError:
        return False


def _take(archive: Path, members: tuple[str, ...], root: Path) -> None:
    """Write some members of a zip into a folder."""
    with zipfile.ZipFile(archive) as opened:
        for name in members:
            write_atomically(root / name, opened.read(name))


def _mjhq(root: Path) -> None:
    """Fetch the zip of MJHQ-30K with its file of categories and prompts, or else its Parquet files, from the hub."""
    from huggingface_hub import HfApi

    from lactok.weights.hub import explained, from_hub

    def told(error: Exception) -> UserError:
        return UserError(f"{MJHQ}: {error}; or put {PUBLISHED['mjhq'].recipe} into {root}")

    try:
        info = HfApi().dataset_info(MJHQ)
    except Exception as error:
        why = explained(error)
        if why is None:
            raise
        raise told(why) from error
    files = sorted(sibling.rfilename for sibling in info.siblings or [])
    wanted = [name for name in MJHQ_FILES if name in files]
    if MJHQ_FILES[0] not in wanted:
        wanted += [name for name in files if name.endswith(".parquet")]
    if not set(wanted) - {MJHQ_FILES[1]}:
        raise UserError(f"{MJHQ}: the hub's repository has neither {MJHQ_FILES[0]} nor Parquet files")
    for name in wanted:
        target = root / name
        if is_file(target):
            logger.info("%s is here already", name)
            continue
        scratch = root / HALF_DONE / name.replace("/", "-")
        scratch.mkdir(parents=True, exist_ok=True)
        try:
            arrived = from_hub(Hub(MJHQ, name, revision=info.sha, repo_type="dataset"), scratch)
        except (Unreachable, Refused, BrokenTransfer) as error:
            raise told(error) from error
        if arrived.parent == scratch:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(arrived, target)
        else:  # huggingface_hub has it in its own cache
            copy_atomically(arrived, target)
        scratch.rmdir()
    lines = [f"{sha256(root / name)}  {name}\n" for name in wanted]
    with replacing(root / "SOURCE.txt") as path:
        path.write_text(f"{MJHQ} at {info.sha}\n{''.join(lines)}")
