"""Data sets: a name and a list of samples, each an image file (or a window of it) with an id and perhaps a caption."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from lactok.errors import MissingFile, UserError, WrongValue, at_least, unknown
from lactok.evaluation import captions, lists
from lactok.evaluation.folders import files_under
from lactok.evaluation.names import normalised
from lactok.evaluation.protocol import digest
from lactok.files import is_file, is_folder
from lactok.images import EXTENSIONS, UnreadableImage, open_photograph
from lactok.outside_text import shown

FEW = 30  # with fewer images, bootstrap intervals are of little use, and a warning says so
LONGEST_NAME = 128  # characters of a folder's or list's name in a data set's name
SHARD = 64  # number of samples that are computed, stored and resumed together


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        id: a name that is unique in the data set and the same on every machine.
        path: the image file.
        caption: the image's caption, or None.
        window: the part of the photograph that is the sample, (left, top, width, height) in pixels of the
            photograph as it is opened; None for all of it.
        metadata: the prompt of a generated picture, as JSON; else "".
    """

    id: str
    path: Path
    caption: str | None = None
    window: tuple[int, int, int, int] | None = None
    metadata: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the file's digest and the window."""
        return digest([file_sha256(self.path), self.window])

    def open(self, upright: bool = True) -> Image.Image:
        """Open the photograph, or its window, as 8-bit RGB; raise UnreadableImage if that cannot be done.

        Args:
            upright: whether the photograph is turned as its EXIF orientation says.
        """
        image = open_photograph(self.path, upright)
        if self.window is None:
            return image
        left, top, width, height = self.window
        if left + width > image.width or top + height > image.height:
            raise UnreadableImage(f"window {self.window} lies outside {image.width}x{image.height}")
        return image.crop((left, top, left + width, top + height))


def file_sha256(path: Path) -> str:
    """Return the digest of a file; raise MissingFile if it cannot be read."""
    try:
        stat = path.stat()
        return _hashed(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}") from error


@cache
def _hashed(path: Path, _size: int, _mtime: int) -> str:
    """Hash a file; it is done once, since every key asks for it, unless size or time of change are others."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A named list of samples.

    Attributes:
        name: the name in tables and folders.
        samples: the samples, sorted by id.
    """

    name: str
    samples: tuple[Sample, ...]

    def limited(self, limit: int | None) -> Dataset:
        """Return a fixed random choice of `limit` samples, those whose ids have the lowest hashes; all for None.

        Whether a sample is chosen before another one does not depend on the rest of the data set.
        """
        return Dataset(self.name, limited(self.samples, limit))

    def shards(self) -> Iterator[Sequence[Sample]]:
        """Yield the samples in pieces of `SHARD`, in their order; suites work on one such shard at a time."""
        for start in range(0, len(self.samples), SHARD):
            yield self.samples[start : start + SHARD]


def limited(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    """Return a fixed random choice of samples, see `Dataset.limited`; raise WrongValue for a limit below 1."""
    at_least("limit", limit, 1)
    if limit is None or limit >= len(samples):
        return samples
    chosen = sorted(samples, key=lambda s: hashlib.sha256(s.id.encode()).digest())[:limit]
    return tuple(sorted(chosen, key=lambda s: s.id))


def limited_numbers(numbers: int | Sequence[int], limit: int | None) -> list[int]:
    """Return a fixed random choice of `limit` of some numbers, in order; all for None.

    It is the choice of `Dataset.limited` for prompts that are known by their numbers.

    Args:
        numbers: the numbers in order; an integer n stands for 0 ... n - 1.
        limit: how many are chosen.
    """
    every = range(numbers) if isinstance(numbers, int) else numbers
    if limit is None or limit >= len(every):
        return list(every)
    by_hash = sorted(every, key=lambda number: hashlib.sha256(f"{number:05}".encode()).digest())
    return sorted(by_hash[:limit])


def sample_set() -> Dataset:
    """Return the data set "sample": six windows of each colour photograph that scikit-image and scikit-learn ship.

    The windows are the largest central square, and five of 256x256 pixels in the corners and the centre. The retina
    and the Hubble field are left out, since they are no photographs of scenes.
    """
    import skimage.data
    import sklearn.datasets

    skimage_root = Path(skimage.data.__file__).parent
    sklearn_root = Path(sklearn.datasets.__file__).parent / "images"
    files = [skimage_root / f for f in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    files += [sklearn_root / f for f in ("china.jpg", "flower.jpg")]
    samples = []
    for path in files:
        if not is_file(path):
            raise UserError(f"the sample photograph {path.name} is missing: reinstall scikit-image and scikit-learn")
        with Image.open(path) as image:
            width, height = image.size
        side = min(width, height)
        right, bottom, tile = width - 256, height - 256, 256
        windows = {
            "square": ((width - side) // 2, (height - side) // 2, side, side),
            "centre": (right // 2, bottom // 2, tile, tile),
            "top-left": (0, 0, tile, tile),
            "top-right": (right, 0, tile, tile),
            "bottom-left": (0, bottom, tile, tile),
            "bottom-right": (right, bottom, tile, tile),
        }
        samples += [Sample(f"{path.stem}/{name}", path, None, window) for name, window in windows.items()]
    return Dataset("sample", tuple(sorted(samples, key=lambda s: s.id)))


def folder(root: Path, limit: int | None = None) -> Dataset:
    """Return the images under a folder as a data set, or a fixed random choice of `limit` of them.

    The name ends in a few digits of the content's hash, see `named_by_content`; only the samples that are used are read
    for it.

    Raises:
        UserError: there are no images, or `captions.json` is damaged.
    """
    return named_by_content(root.resolve().name, limited(samples_under(root), limit))


def samples_under(root: Path) -> tuple[Sample, ...]:
    """Return the images under a folder, see `lactok.evaluation.folders.files_under`; ids are relative paths.

    A file `captions.json` in the folder, as `lactok.evaluation.captions.read` takes it, gives the captions; names that
    differ only in their Unicode form are one.

    Raises:
        UserError: there are no images, two have one id, or `captions.json` is damaged.
    """
    files = files_under(root, EXTENSIONS)
    if not files:
        raise WrongValue(f"{shown(root, 200)} holds no images ({', '.join(EXTENSIONS)})")
    texts: dict[str, str] = {}
    if is_file(root / "captions.json"):
        texts = {normalised(name): text for name, text in captions.read(root / "captions.json").items()}
    found: dict[str, Sample] = {}
    for path in files:
        identifier = id_of(path, root)
        name = normalised(identifier)
        if name in found:
            if found[name].id == identifier:
                raise WrongValue(
                    f"{shown(path, 200)}: another image has the id {shown(identifier)}; rename one of them"
                )
            raise WrongValue(
                f"{shown(root, 200)}: {found[name].id!a} and {identifier!a} are one name in two Unicode forms; "
                "rename or remove one of them"
            )
        found[name] = Sample(identifier, path, texts.get(name))
    return tuple(found.values())


def id_of(path: Path, root: Path) -> str:
    """Return a file's path under `root` as an id.

    Bytes that are no UTF-8 become escapes such as "\\xff", so that every id can be stored and printed.
    """
    return _utf8(path.relative_to(root).as_posix())


def _utf8(name: str) -> str:
    """Return a name of a file or folder with escapes for bytes that are no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def from_list(path: Path, limit: int | None = None) -> Dataset:
    """Return the images that a text file names as a data set, see `lactok.evaluation.lists.read`, named as a folder is.

    Args:
        path: the text file.
        limit: take only this many samples, a fixed random choice; None for all.

    Raises:
        UserError: the file cannot be read, names no images, one that is not there, or one twice.
    """
    samples = tuple(Sample(identifier, file) for identifier, file in sorted(lists.read(path).items()))
    return named_by_content(path.stem, limited(samples, limit))


def named_by_content(name: str, samples: tuple[Sample, ...]) -> Dataset:
    """Make a data set whose name ends in a few digits of its content's hash.

    So two folders of the same name are two data sets, and a changed folder is another one. Of a name that is too long
    for the folders of results the end is cut.
    """
    return Dataset(f"{_utf8(name)[:LONGEST_NAME]}-{digest([[s.id, s.sha256] for s in samples])[:6]}", samples)


def balanced(dataset: Dataset, size: int) -> Dataset:
    """Return at most `size` samples, equally many from each top folder (category): a fixed random choice.

    Raises:
        UserError: there are more top folders than that.
    """
    if len(dataset.samples) <= size:
        return dataset
    categories: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        categories.setdefault(sample.id.split("/")[0], []).append(sample)
    each = size // len(categories)
    if each == 0:
        raise UserError(f"{dataset.name} has no folder a category; keep the layout of the official archive")
    chosen: list[Sample] = []
    for group in categories.values():
        by_hash = sorted(group, key=lambda s: hashlib.sha256(f"0 {s.id}".encode()).digest())
        chosen += by_hash[:each]
    return Dataset(dataset.name, tuple(sorted(chosen, key=lambda s: s.id)))


@dataclass(frozen=True)
class Published:
    """A data set that users have to get by themselves.

    Attributes:
        name: its name for `dataset`, and the name of its folder.
        size: the number of images that are used.
        recipe: what to put into the folder; the message about a missing folder says it.
    """

    name: str
    size: int
    recipe: str


PUBLISHED = {
    p.name: p
    for p in (
        Published("imagenet", 50_000, "ILSVRC2012 validation images (image-net.org), 50,000 JPEG files"),
        Published("coco", 5_000, "val2017.zip of COCO 2017 (cocodataset.org), 5,000 JPEG files"),
        Published("mjhq", 5_000, "the 30,000 images of MJHQ-30K (hub: playgroundai/MJHQ-30K), a folder a category,"),
        Published("flux5k", 5_000, "not public: generate 5,000 images with FLUX.1-dev; comparable with nobody's"),
    )
}


def data_folder(name: str, data_dir: Path | None = None) -> Path:
    """Return where a published data set belongs: the folder `name` in `data_dir`, in LACTOK_DATA or in ./data."""
    return (data_dir or Path(os.environ.get("LACTOK_DATA", "data"))) / name


def get(name: str, data_dir: Path | None = None, limit: int | None = None, argument: str = "dataset") -> Dataset:
    """Return a data set.

    Args:
        name: "sample", a published data set, a folder of images, or a .txt file that lists images.
        data_dir: the folder of the published data sets, see `data_folder`.
        limit: take only this many samples, a fixed random choice; None for all.
        argument: the argument that names it, for messages.

    Raises:
        UserError: the name is unknown, or a folder or file is missing or empty; the message says how to get the data.
    """
    if name == "sample":
        return sample_set().limited(limit)
    if name in PUBLISHED:
        root = data_folder(name, data_dir)
        if not is_folder(root):
            wanted = PUBLISHED[name]
            raise MissingFile(f"data set {name} is not in {root}: put {wanted.recipe} there, or set LACTOK_DATA")
        found = Dataset(name, samples_under(root))
        return (balanced(found, PUBLISHED[name].size) if name == "mjhq" else found).limited(limit)
    path = Path(name)
    if is_folder(path):
        return folder(path, limit)
    if is_file(path) and path.suffix.lower() == ".txt":
        return from_list(path, limit)
    if path.suffix or "/" in name or not name.isprintable():
        raise MissingFile(f"`{argument}` {shown(name, 200)}: no such folder or .txt list of images")
    raise unknown("data set", shown(name), ["sample", *PUBLISHED, "a folder of images"])
