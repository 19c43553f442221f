"""A data set is a manifest of samples: id, path, sha256, caption, and a window of the photograph where it has one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from lactok.errors import MissingFile, UserError, WrongValue, at_least, unknown
from lactok.evaluation.protocol import digest
from lactok.images import EXTENSIONS, UnreadableImage, open_photograph

FEW = 30
SHARD = 64  # samples that are worked on, stored and resumed together


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        id: unique in the data set, stable between machines.
        window: (left, top, width, height) in pixels of the upright photograph, or None for all of it.
        metadata: of a generated picture, its prompt as JSON.
    """

    id: str
    path: Path
    caption: str | None = None
    window: tuple[int, int, int, int] | None = None
    metadata: str = ""

    @property
    def sha256(self) -> str:
        """Of the file's bytes and the window."""
        return digest([_file_sha256(self.path), self.window])

    def open(self) -> Image.Image:
        """The photograph, or its window; raises UnreadableImage."""
        image = open_photograph(self.path)
        if self.window is None:
            return image
        left, top, width, height = self.window
        if left + width > image.width or top + height > image.height:
            raise UnreadableImage(f"window {self.window} lies outside {image.width}x{image.height}")
        return image.crop((left, top, left + width, top + height))


def _file_sha256(path: Path) -> str:
    try:
        stat = path.stat()
        return _hashed(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}") from error


@cache
def _hashed(path: Path, _size: int, _mtime: int) -> str:
    """Of a file, computed once for an unchanged one: digests are asked for at every key."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Samples sorted by id."""

    name: str
    samples: tuple[Sample, ...]

    def limited(self, limit: int | None) -> Dataset:
        """The `limit` samples whose ids hash lowest: a fixed random choice, the same whatever else is there."""
        at_least("limit", limit, 1)
        if limit is None or limit >= len(self.samples):
            return self
        chosen = sorted(self.samples, key=lambda s: hashlib.sha256(s.id.encode()).digest())[:limit]
        return Dataset(self.name, tuple(sorted(chosen, key=lambda s: s.id)))

    def shards(self) -> Iterator[Sequence[Sample]]:
        """The samples in pieces of `SHARD`, in their order: what every suite works on at a time."""
        for start in range(0, len(self.samples), SHARD):
            yield self.samples[start : start + SHARD]


def limited_numbers(count: int, limit: int | None) -> list[int]:
    """A fixed random choice of `limit` of the prompts 0 ... count - 1, in order: those whose numbers hash lowest."""
    if limit is None or limit >= count:
        return list(range(count))
    return sorted(sorted(range(count), key=lambda i: hashlib.sha256(f"{i:05}".encode()).digest())[:limit])


def sample_set() -> Dataset:
    """The colour photographs that scikit-image and scikit-learn ship, six windows of each.

    The windows: the central square of the full height, and five of 256x256 pixels, in the corners and the centre.
    Left out are the retina and the Hubble field, which are no photographs of scenes.
    """
    import skimage.data
    import sklearn.datasets

    skimage_root = Path(skimage.data.__file__).parent
    sklearn_root = Path(sklearn.datasets.__file__).parent / "images"
    files = [skimage_root / f for f in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    files += [sklearn_root / f for f in ("china.jpg", "flower.jpg")]
    samples = []
    for path in files:
        if not path.is_file():
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


def folder(root: Path) -> Dataset:
    """Every image under a folder; ids are relative paths. `captions.json` ({id: caption}) is read where present."""
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not files:
        raise WrongValue(f"{root} holds no images ({', '.join(EXTENSIONS)})")
    captions: dict[str, str] = {}
    if (root / "captions.json").is_file():
        try:
            captions = dict(json.loads((root / "captions.json").read_text()))
        except ValueError as error:
            raise UserError(f"{root / 'captions.json'} is not a JSON object of captions by image: {error}") from None
    samples = [
        Sample(identifier, path, captions.get(identifier)) for path in files for identifier in (id_of(path, root),)
    ]
    return named_by_content(root.resolve().name, tuple(samples))


def id_of(path: Path, root: Path) -> str:
    """The path under `root`; bytes that are no UTF-8 are written out, so that every id can be stored and printed."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def listed(path: Path) -> Dataset:
    """The images named in a text file, one a line, relative to the file; ids are the paths as written."""
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    samples = [Sample(Path(line).name if Path(line).is_absolute() else line, path.parent / line) for line in lines]
    missing = [s.path for s in samples if not s.path.is_file()]
    if not samples or missing:
        raise UserError(f"{path}: {f'no such image {missing[0]}' if missing else 'names no images'}")
    if len({s.id for s in samples}) != len(samples):
        raise UserError(f"{path} names an image twice")
    return named_by_content(path.stem, tuple(sorted(samples, key=lambda s: s.id)))


def named_by_content(name: str, samples: tuple[Sample, ...]) -> Dataset:
    """Two folders of one name are two data sets: a few digits of the content tell them apart."""
    return Dataset(f"{name}-{digest([[s.id, s.sha256] for s in samples])[:6]}", samples)


def balanced(dataset: Dataset, size: int) -> Dataset:
    """At most `size` samples, as many of each top folder (category): those whose ids hash lowest with seed 0."""
    if len(dataset.samples) <= size:
        return dataset
    categories: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        categories.setdefault(sample.id.split("/")[0], []).append(sample)
    each = size // len(categories)
    if each == 0:
        raise UserError(f"{dataset.name} has no folder a category; keep the layout of the official archive")
    chosen = [
        sample
        for group in categories.values()
        for sample in sorted(group, key=lambda s: hashlib.sha256(f"0 {s.id}".encode()).digest())[:each]
    ]
    return Dataset(dataset.name, tuple(sorted(chosen, key=lambda s: s.id)))


@dataclass(frozen=True)
class Published:
    """A data set that everybody downloads for himself; the recipe is printed where the folder is missing."""

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
    """Where a published data set belongs: `<data_dir>/<name>` (LACTOK_DATA, by default ./data)."""
    return (data_dir or Path(os.environ.get("LACTOK_DATA", "data"))) / name


def get(name: str, data_dir: Path | None = None) -> Dataset:
    """A data set by name, a folder of images or a text file that lists images.

    The published ones are looked for in their `data_folder`.

    Raises:
        UserError: unknown name, missing or empty folder; the message says how to get the data.
    """
    if name == "sample":
        return sample_set()
    if name in PUBLISHED:
        root = data_folder(name, data_dir)
        if not root.is_dir():
            wanted = PUBLISHED[name]
            raise MissingFile(f"data set {name} is not in {root}: put {wanted.recipe} there, or set LACTOK_DATA")
        found = Dataset(name, folder(root).samples)
        return balanced(found, PUBLISHED[name].size) if name == "mjhq" else found
    path = Path(name)
    if path.is_dir():
        return folder(path)
    if path.is_file() and path.suffix == ".txt":
        return listed(path)
    if path.suffix or "/" in name:
        raise MissingFile(f"`dataset` {name}: no such folder or .txt list of images")
    raise unknown("data set", name, ["sample", *PUBLISHED, "a folder of images"])
