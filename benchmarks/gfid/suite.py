"""The steps of the suite: choose the metrics, find the pictures, make and describe them, write the results."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.gfid.arrays import PICTURES, headers, pictures_of
from benchmarks.gfid.pictures import (
    ArrayPictures,
    FolderPictures,
    GeneratedPictures,
    Pictures,
    array_samples,
    numbered,
    prepared_to,
)
from benchmarks.gfid.reference import Reference
from benchmarks.gfid.result import Measurement, distance, merge, publish_array, publish_examples
from benchmarks.gfid.work import DescribingWork
from lactok import outside_text, registry, weights
from lactok.errors import WeightsNotFound, WrongValue, first_few, unknown
from lactok.evaluation import datasets, writing
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Dataset, limited
from lactok.evaluation.evaluate import existing_folder
from lactok.evaluation.protocol import Protocol, Score, digest
from lactok.evaluation.results import GfidResult
from lactok.evaluation.shards import again_if_lost, complete
from lactok.evaluation.store import Store, folder_safe
from lactok.evaluation.timing import Timer
from lactok.images import Rounding, UnreadableImage
from lactok.metrics import choice
from lactok.outside_text import shown

METRICS = ("fid", "inception_score", "precision", "recall")  # that are measured by default
MORE = ("kid",)
CLASSES = 1000
SAMPLES = 50  # pictures of each class, as papers take them
logger = logging.getLogger("lactok.gfid")


@dataclass(frozen=True)
class Asked:
    """What is asked of the suite, the same for every row.

    Attributes:
        reference: what the pictures are compared with.
        metrics: keys of metrics.
        networks: the names and digests of the networks that these need.
        absent: metric -> why its network cannot be had.
        array: whether `samples.npz` is written.
        statistics: where the reference's statistics are written, if anywhere.
    """

    reference: Reference
    metrics: tuple[str, ...]
    networks: tuple[tuple[str, str], ...] = ()
    absent: dict[str, str] = field(default_factory=dict)
    array: bool = False
    statistics: Path | None = None


@dataclass(frozen=True)
class Classes:
    """The classes of which generators make pictures.

    Attributes:
        name: the data set's name.
        labels: the classes, in the order in which pictures are numbered.
        samples: pictures of each.
    """

    name: str
    labels: tuple[int, ...]
    samples: int

    def dataset(self, limit: int | None) -> Dataset:
        """Return the pictures, or a fixed random choice of `limit` of them."""
        return Dataset(self.name, limited(numbered(self.labels, self.samples), limit))


def choose(text: str) -> tuple[tuple[str, ...], bool]:
    """Return the metrics that `--metrics` asks for, and whether the user named them one by one.

    Raises:
        UnknownName: the suite has no such metric.
        WrongValue: none is named.
    """
    if text in ("default", "all"):
        return (METRICS if text == "default" else (*METRICS, *MORE)), False
    named = choice.split(text)
    for key in named:
        if key not in (*METRICS, *MORE):
            raise unknown("metric of gfid", key, (*METRICS, *MORE))
    if not named:
        raise WrongValue("`metrics` is empty; name some, or use default or all")
    return tuple(key for key in (*METRICS, *MORE) if key in named), True


def with_networks(asked: Asked, named: bool) -> Asked:
    """Return what is asked with the digests of the metrics' networks, which are fetched if need be.

    Args:
        named: whether the user named the metrics; then it is an error if one cannot be computed.

    Raises:
        WeightsNotFound: Inception itself, or a network of a metric that the user named, cannot be had.
    """
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    for key in asked.metrics:
        metric = distance(key)
        for asset in metric.features.networks:
            found[asset.name] = weights.resolve(asset).sha256
        for asset in metric.networks:
            try:
                found[asset.name] = weights.resolve(asset).sha256
            except WeightsNotFound as error:
                if named:
                    raise WeightsNotFound(f"{key}: {error}; or leave it out of `metrics`") from None
                fetch = f"python -m lactok.weights fetch {asset.name}"
                absent[key] = f"the weights {asset.name} are not here ({fetch})"
    return replace(asked, networks=tuple(sorted(found.items())), absent=absent)


def classes_of(file: str | None, samples: int) -> Classes:
    """Return the classes of which pictures are made: all 1000, or those that a file names, a number a line.

    Raises:
        MissingFile: the file is not there.
        WrongValue: it names no class, or something else than a class; the message says in which line.
    """
    if file is None:
        return Classes("imagenet-classes", tuple(range(CLASSES)), samples)
    name = f"`classes` {shown(file, 200)}"
    labels = []
    for where, line in outside_text.lines(outside_text.read(file, name), name):
        text = line.strip()
        if not text.isascii() or not text.isdigit() or len(text) > 4 or int(text) >= CLASSES:
            raise WrongValue(f"{where}: {shown(text)!r} is no ImageNet class; write a number from 0 to 999 a line")
        labels.append(int(text))
    if not labels:
        raise WrongValue(f"{name}: no class in it; write a number from 0 to 999 a line")
    return Classes(f"classes-{folder_safe(Path(file).stem)[:80]}-{digest(labels)[:6]}", tuple(labels), samples)


def generated(name: str, classes: Classes, rounding: Rounding, run: Run, limit: int | None, store: Store) -> Pictures:
    """Return the pictures that a generator makes.

    Raises:
        WeightsNotFound: its weights cannot be had.
    """
    spec = registry.generator_spec(name)
    settings = registry.generator_settings(name)
    return GeneratedPictures(spec.name, name, classes.dataset(limit), spec.output_size, settings, run, rounding, store)


def check_stored(given: str) -> None:
    """Check what `stored` gets, before anything is fetched or written; its errors are the same."""
    path = Path(given)
    if path.suffix.lower() != ".npz":
        existing_folder(path, "images", "a folder or an .npz file")
        return
    known = headers(path, "images")
    if PICTURES not in known:
        raise WrongValue(f"`images` {shown(path, 200)}: no pictures in it; ADM's files have them in {PICTURES}")
    pictures_of(path, known, "images", None)


def stored(given: str, limit: int | None, store: Store) -> Pictures:
    """Return somebody's pictures: those of a folder, or of an .npz file as ADM's.

    Raises:
        MissingFile: there is no such folder or file.
        WrongValue: there are no pictures in it.
    """
    check_stored(given)
    path = Path(given)
    if path.suffix.lower() == ".npz":
        array = pictures_of(path, headers(path, "images"), "images", store)
        name = f"{path.stem}-{array.sha256[:6]}"
        dataset = Dataset(name, limited(array_samples(array), limit))
        return ArrayPictures(f"images-{folder_safe(name)}", dataset, array)
    dataset = datasets.folder(path, limit)
    return FolderPictures(f"images-{folder_safe(dataset.name)}", dataset, _side(dataset))


def _side(dataset: Dataset) -> int:
    """Return the size to which a folder's pictures are brought: the shorter side of the first one that can be read.

    A line in the log names pictures of other sizes.
    """
    sizes = {sample.id: sample.size(upright=False) for sample in dataset.samples}
    side = next((min(size) for size in sizes.values() if size is not None), 0)
    if side == 0:
        first = dataset.samples[0]
        try:
            first.open()
        except UnreadableImage as error:
            raise WrongValue(
                f"`images` {dataset.name}: no picture can be read; the first, {first.id}: {error}"
            ) from error
        raise WrongValue(f"`images` {dataset.name}: no picture has a size that can be read")
    others = [f"{name} ({size[0]}x{size[1]})" for name, size in sizes.items() if size not in (None, (side, side))]
    if others:
        logger.warning(
            "warning: %d of %d pictures are not %dx%d: %s; of each the central square is brought to that size",
            len(others),
            len(sizes),
            side,
            side,
            first_few(others, 3),
        )
    return side


@again_if_lost
def measure(
    pictures: Pictures, asked: Asked, run: Run, execution: Execution, store: Store, samples: int
) -> GfidResult | None:
    """Make and describe pictures, describe the reference, and write the result.

    Args:
        samples: pictures of each class that a generator makes.

    Returns:
        The result; None while other parts still have shards to do.
    """
    features = _feature_run(run, asked, pictures.side)
    work = DescribingWork(pictures, features, store)
    theirs = None
    source = asked.reference.pictures(pictures.side, store) if _needs_pictures(asked) else None
    if source is not None:
        if source.side != pictures.side:
            logger.warning(
                "warning: %s are %d px and the reference's pictures %d px; a number of two sizes is rarely meant",
                pictures.name,
                pictures.side,
                source.side,
            )
        theirs = DescribingWork(source, features, store, "reference features")
    timer, is_left = Timer(run.device), False
    for one, label in ((theirs, "features of the reference"), (work, pictures.name)):
        if one is not None and complete(one, list(one.pictures.dataset.shards()), execution, label, timer) is None:
            is_left = True
    if is_left:
        return None
    generator = None
    rounding: Rounding = "nearest"
    if isinstance(pictures, GeneratedPictures):
        generator = {"name": pictures.name, "samples": samples, "seed": run.seed, "dtype": run.dtype}
        rounding = pictures.rounding
    else:
        run = replace(run, seed=0, dtype="float32")
    protocol = Protocol(f"adm-{pictures.side}", prepared_to(pictures.side), Score(asked.metrics, rounding))
    run = replace(run, protocol=protocol, networks=asked.networks)
    name = _folder_name(pictures, asked, run, execution.limit, samples if generator else SAMPLES)
    folder = execution.out / name
    measured = Measurement(work, theirs, asked.reference, run, asked.absent, execution.limit, generator)
    with store.alone(name):  # another command may write the same result
        publish_examples(work, folder, execution.pictures)
        if asked.array:
            publish_array(work, folder)
        return merge(measured, folder, timer, asked.statistics)


def _needs_pictures(asked: Asked) -> bool:
    """Return whether the reference's pictures are needed: the FID is of its statistics where it has some."""
    kinds = {distance(key).of_references for key in asked.metrics}
    has_statistics = asked.reference.gaussian is not None
    return "features" in kinds or asked.statistics is not None or ("moments" in kinds and not has_statistics)


def _feature_run(run: Run, asked: Asked, side: int) -> Run:
    """Return the run by which features are computed and stored, the same whatever other metrics are asked for."""
    names = {asset.name for asset in distance("fid").needs}
    networks = tuple((name, sha256) for name, sha256 in asked.networks if name in names)
    protocol = Protocol("features", prepared_to(side), Score(("fid",)))
    return replace(run, protocol=protocol, networks=networks)


def _folder_name(pictures: Pictures, asked: Asked, run: Run, limit: int | None, samples: int) -> str:
    """Return the name of a result folder.

    It is `<pictures>__<classes, where a generator has others>gfid-<reference>__<prepare>-<score>[__limit]...`.
    """
    classes = [pictures.dataset.name] if pictures.dataset.name.startswith("classes-") else []
    hashes = f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"
    more = f"samples{samples}" if samples != SAMPLES else ""
    reference = f"gfid-{asked.reference.name}"
    return writing.folder_name(
        pictures.name, *classes, reference, hashes, limit=limit, dtype=run.dtype, seed=run.seed, more=more
    )
