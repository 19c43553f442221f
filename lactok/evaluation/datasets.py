"""Data sets: a name and a list of samples, each an image with an id and perhaps a caption. The door to all of them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lactok.errors import MissingFile, WrongValue, unknown
from lactok.evaluation import archives, captions, lists, published_sets
from lactok.evaluation.folders import files_under, names_under
from lactok.evaluation.members import RowMember
from lactok.evaluation.names import normalised, utf8
from lactok.evaluation.protocol import digest
from lactok.evaluation.published_sets import PUBLISHED
from lactok.evaluation.samples import Sample, file_sha256, limited, limited_ids, limited_numbers
from lactok.evaluation.tar_index import is_pattern, matching
from lactok.files import is_file, is_folder
from lactok.images import EXTENSIONS
from lactok.outside_text import shown

__all__ = ["PUBLISHED", "Sample", "file_sha256", "limited", "limited_numbers"]  # beside what is defined here

FEW = 30  # with fewer images, intervals are of little use, and a warning says so
LONGEST_NAME = 128  # characters of a folder's or list's name in a data set's name
SHARD = 64  # number of samples that are computed, stored and resumed together
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """A named list of samples.

    Attributes:
        name: the name in tables and folders.
        samples: the samples, sorted by id.
    """

    name: str
    samples: tuple[Sample, ...]

    @property
    def list_sha256(self) -> str:
        """The digest of the list: of the samples' ids in their order, whatever is in the files."""
        return digest([sample.id for sample in self.samples])

    def limited(self, limit: int | None) -> Dataset:
        """Return a fixed random choice of `limit` samples, those whose ids have the lowest hashes; all for None.

        Whether a sample is chosen before another one does not depend on the rest of the data set.
        """
        return Dataset(self.name, limited(self.samples, limit))

    def shards(self) -> Iterator[Sequence[Sample]]:
        """Yield the samples in pieces of `SHARD`, in their order; suites work on one such shard at a time."""
        for start in range(0, len(self.samples), SHARD):
            yield self.samples[start : start + SHARD]


def folder(root: Path, limit: int | None = None) -> Dataset:
    """Return the images under a folder as a data set, or a fixed random choice of `limit` of them.

    The name ends in a few digits of the content's hash, see `named_by_content`; only the samples that are used are read
    for it.

    Raises:
        UserError: there are no images, or `captions.json` is damaged.
    """
    return named_by_content(root.resolve().name, samples_under(root, limit))


def samples_under(root: Path, limit: int | None = None) -> tuple[Sample, ...]:
    """Return the images under a folder, see `lactok.evaluation.folders.names_under`; ids are relative paths.

    A folder without image files may hold archives of images: webdataset shards, zip or Parquet files. A file
    `captions.json` in the folder, as `lactok.evaluation.captions.read` takes it, gives the captions, and `texts.json`,
    in the same form, the texts that the images show; names that differ only in their Unicode form are one.

    Args:
        root: the folder.
        limit: take only this many images, a fixed random choice; None for all.

    Raises:
        UserError: there are no images, two have one id, or an archive or `captions.json` is damaged.
    """
    names = names_under(root, EXTENSIONS)
    ids = [utf8(name) for name in names]
    refuse_twins(ids, root)
    if names:
        name_of = dict(zip(ids, names, strict=True))
        chosen = limited_ids(ids, limit)
        found = [Sample(i, root / name_of[i]) for i in (ids if chosen is ids else sorted(chosen))]
    else:
        found = list(limited(tuple(in_archives(files_under(root, archives.ENDINGS), root)), limit))
    if not found:
        kinds = ", ".join((*EXTENSIONS, ".tar, .zip and .parquet with such"))
        raise WrongValue(f"{shown(root, 200)} holds no images ({kinds})")
    return tuple(with_texts(with_captions(found, _beside(root, "captions.json")), _beside(root, "texts.json")))


def _beside(root: Path, name: str) -> dict[str, str]:
    """Return the captions or texts that a file in the folder of the images holds, by id; none where it is not there."""
    if not is_file(root / name):
        return {}
    return {normalised(image): text for image, text in captions.read(root / name).items()}


def refuse_twins(ids: Sequence[str], source: Path) -> None:
    """Raise WrongValue if two images have one id, or one id in two Unicode forms.

    Args:
        ids: the ids of all images.
        source: where they lie, for the message.
    """
    known: dict[str, str] = {}
    for identifier in ids:
        name = normalised(identifier)
        other = known.get(name)
        known[name] = identifier
        if other is None:
            continue
        where = shown(source, 200)
        if other == identifier:
            raise WrongValue(f"{where}: another image has the id {shown(identifier)}; rename one of them")
        raise WrongValue(
            f"{where}: {other!a} and {identifier!a} are one name in two Unicode forms; rename or remove one of them"
        )


def with_captions(samples: Sequence[Sample], texts: dict[str, str]) -> Sequence[Sample]:
    """Give samples their captions.

    Args:
        samples: the samples; one that is not in `texts` keeps the caption that it has.
        texts: captions by id, in Unicode's composed form.
    """
    if not texts:
        return samples
    return [replace(sample, caption=texts.get(normalised(sample.id), sample.caption)) for sample in samples]


def with_texts(samples: Sequence[Sample], texts: dict[str, str]) -> Sequence[Sample]:
    """Give samples the texts that they show, by id as above; one that is not in `texts` keeps what it has."""
    if not texts:
        return samples
    return [replace(sample, text=texts.get(normalised(sample.id), sample.text)) for sample in samples]


def in_archives(files: Sequence[Path], source: Path) -> list[Sample]:
    """Return the images in archives, see `lactok.evaluation.archives.images_in`; ids are their names there.

    Args:
        files: the archives.
        source: where they lie, for messages.

    Raises:
        UserError: an archive is damaged, or two images have one name.
    """
    found = [Sample(one.name, one.archive, one.text, member=one.member) for one in archives.images_in(files)]
    refuse_twins([sample.id for sample in found], source)
    return found


def id_of(path: Path, root: Path) -> str:
    """Return a file's path under `root` as an id.

    Bytes that are no UTF-8 become escapes such as "\\xff", so that every id can be stored and printed.
    """
    return utf8(path.relative_to(root).as_posix())


def from_list(path: Path, limit: int | None = None) -> Dataset:
    """Return the images that a text file names as a data set, see `lactok.evaluation.lists.read`, named as a folder is.

    Args:
        path: the text file.
        limit: take only this many samples, a fixed random choice; None for all.

    Raises:
        UserError: the file cannot be read, names no images, one that is not there, or one twice.
    """
    files = lists.read(path)
    samples = tuple(Sample(i, files[i]) for i in sorted(files, key=lambda name: name.split("/")))  # as a folder's
    return named_by_content(path.stem, limited(samples, limit))


def from_archives(pattern: str, limit: int | None = None, argument: str = "dataset") -> Dataset:
    """Return the images in archives as a data set, named as a folder is.

    Args:
        pattern: an archive, or a glob or brace pattern of archives.
        limit: take only this many samples, a fixed random choice; None for all.
        argument: the argument that names them, for messages.

    Raises:
        UserError: there is no such archive, one is damaged or compressed, or they hold no images.
    """
    files = matching(pattern, f"`{argument}`")
    strange = [path for path in files if not archives.is_archive(path)]
    if strange:
        raise WrongValue(f"`{argument}` {shown(strange[0], 200)}: archives of images are .tar, .zip and .parquet files")
    samples = in_archives(files, files[0].parent if len(files) > 1 else files[0])
    if not samples:
        raise WrongValue(f"`{argument}` {shown(pattern, 200)} holds no images ({', '.join(EXTENSIONS)})")
    name = re.sub(r"[^\w.]+", "-", Path(pattern).name.rpartition(".")[0]).strip("-.") or "archives"
    return named_by_content(name, limited(tuple(samples), limit))


def named_by_content(name: str, samples: tuple[Sample, ...]) -> Dataset:
    """Make a data set whose name ends in a few digits of its content's hash.

    So two folders of the same name are two data sets, and a changed folder is another one. Of a name that is too long
    for the folders of results the end is cut. Captions that lie in archives are read now, of these samples alone.
    """
    in_tars = {s.id: archives.caption_of(s.id, s.path, s.member) for s in samples if s.caption is None and s.member}
    if any(in_tars.values()):
        samples = tuple(replace(s, caption=in_tars.get(s.id, s.caption)) for s in samples)
    for sample in sorted(samples, key=_place):  # hashed where they lie one after the other, and remembered
        if isinstance(sample.member, RowMember):
            sample.content_sha256  # noqa: B018
    return Dataset(f"{utf8(name)[:LONGEST_NAME]}-{digest([[s.id, s.sha256] for s in samples])[:6]}", samples)


def _place(sample: Sample) -> tuple[str, int, int]:
    """Return a key that sorts rows of Parquet files by file and row group, since a group can only be read whole."""
    member = sample.member
    return (str(sample.path), member.group, member.row) if isinstance(member, RowMember) else ("", 0, 0)


def data_folder(name: str, data_dir: Path | None = None) -> Path:
    """Return where a published data set belongs: the folder `name` in `data_dir`, in LACTOK_DATA or in ./data."""
    return (data_dir or Path(os.environ.get("LACTOK_DATA", "data"))) / name


def get(name: str, data_dir: Path | None = None, limit: int | None = None, argument: str = "dataset") -> Dataset:
    """Return a data set; a line in the log says how many images it has, and the digest of their list.

    Args:
        name: "sample" or "text"; a published data set, see `lactok.evaluation.published_sets`; a folder of images or of
            archives of images; a .txt file that lists images; an archive, or a glob or brace pattern of archives.
        data_dir: the folder of the published data sets, see `data_folder`.
        limit: take only this many samples, a fixed random choice; None for all.
        argument: the argument that names it, for messages.

    Raises:
        UserError: the name is unknown, a folder or file is missing or empty, or what lies in the folder of a published
            set is not that set; the message says how to get the data.
    """
    found = _get(name, data_dir, limit, argument)
    logger.info("data set %s: %d images, sha256 of their list %s", found.name, len(found.samples), found.list_sha256)
    return found


def check_name(name: str, data_dir: Path | None = None, argument: str = "dataset") -> None:
    """Raise what `get` raises for a name that is unknown, or of what is not there; no folder or file is read.

    Args:
        name, data_dir, argument: as of `get`.
    """
    path = Path(name)
    if name in ("sample", "text") or is_pattern(name):
        return
    if name in PUBLISHED:
        published_sets.check_folder(name, data_folder(name, data_dir))
    elif is_file(path) and path.suffix.lower() != ".txt" and not archives.is_archive(path):
        raise WrongValue(
            f"`{argument}` {shown(name, 200)} is one file; name a folder of images, a .txt list of them, or a .tar, "
            ".zip or .parquet archive"
        )
    elif not is_folder(path) and not is_file(path):
        if path.suffix or "/" in name or not name.isprintable():
            raise MissingFile(f"`{argument}` {shown(name, 200)}: no such folder, archive or .txt list of images")
        raise unknown("data set", shown(name), ["sample", "text", *PUBLISHED], also=["a folder of images"])


def _get(name: str, data_dir: Path | None, limit: int | None, argument: str) -> Dataset:
    """Return a data set, see `get`."""
    from lactok.evaluation import sample_set, text_set

    check_name(name, data_dir, argument)
    if name == "sample":
        return Dataset("sample", sample_set.samples()).limited(limit)
    if name == "text":
        return Dataset("text", text_set.samples()).limited(limit)
    if name in PUBLISHED:
        return Dataset(name, published_sets.samples_of(name, data_folder(name, data_dir), limit))
    path = Path(name)
    if is_folder(path):
        return folder(path, limit)
    if is_file(path) and path.suffix.lower() == ".txt":
        return from_list(path, limit)
    return from_archives(name, limit, argument)
