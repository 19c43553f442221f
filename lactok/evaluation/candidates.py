"""What may belong to a published data set in the folder where a user keeps it: image files, or images in archives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lactok.errors import WrongValue
from lactok.evaluation import archives
from lactok.evaluation.folders import files_under, names_under
from lactok.evaluation.members import Member
from lactok.evaluation.names import utf8
from lactok.evaluation.samples import Sample
from lactok.images import EXTENSIONS
from lactok.outside_text import shown

# other parts of a data set, which lie beside the validation part; "latest" is none of them
_OTHER_PART = re.compile(r"(?:.*[\W_])?(?:train|test|unlabeled)(?:20\d\d)?(?:[\W_].*)?", re.IGNORECASE)
_VALIDATION = re.compile(r"(?:.*[\W_])?val(?:id|idation)?(?:20\d\d)?(?:[\W_].*)?", re.IGNORECASE)


class NotPublished(WrongValue):
    """What lies in a folder is not the published data set whose name the folder has."""


@dataclass(frozen=True)
class Candidate:
    """An image that may belong to a published data set.

    Attributes:
        name: its path under the data set's folder, or in its archive.
        path: the file, or the archive.
        member: where in the archive it is; None for a file.
        label, text: what the archive says that it shows, and its caption; see `lactok.evaluation.archives.Inside`.
        is_named: whether it has a name of its own.
    """

    name: str
    path: Path
    member: Member | None = None
    label: str = ""
    text: str | None = None
    is_named: bool = True

    @property
    def own_name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.name).name

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return shown(self.path if self.member is None else f"{self.path}/{self.name}", 200)


def is_other_part(name: str) -> bool:
    """Return whether a folder or archive of this name holds another part of a data set than the validation part.

    >>> [is_other_part(n) for n in ("train", "train2017", "ILSVRC2012_img_train.tar", "val", "latest", "training")]
    [True, True, True, False, False, False]
    """
    return _OTHER_PART.fullmatch(name) is not None


def is_validation(name: str) -> bool:
    """Return whether a folder or archive of this name holds the validation part of a data set.

    >>> [is_validation(n) for n in ("val", "val2017.zip", "ILSVRC2012_img_val.tar", "validation-0.parquet", "interval")]
    [True, True, True, True, False]
    """
    return _VALIDATION.fullmatch(name) is not None


def candidates(
    root: Path, skip: Callable[[str], bool] | None = None, archive: Callable[[str], bool] | None = None
) -> Iterator[Sequence[Candidate]]:
    """Yield what may belong to a data set, kind by kind: image files, images in tar and zip files, in Parquet files.

    Whoever looks for a data set takes the first kind that has what it wants, since the others are mostly copies.

    Args:
        root: the data set's folder.
        skip: returns whether a folder of this name is not looked into.
        archive: returns whether an archive of this name may hold the data set; by default all may.
    """
    yield [Candidate(utf8(name), root / name) for name in names_under(root, EXTENSIONS, skip)]
    files = [path for path in files_under(root, archives.ENDINGS, skip) if archive is None or archive(path.name)]
    parquet = [path for path in files if path.suffix.lower() == ".parquet"]
    for some in ([path for path in files if path not in parquet], parquet):
        if some:
            inside = archives.images_in(some)
            yield [Candidate(i.name, i.archive, i.member, i.label, i.text, i.is_named) for i in inside]


def unique(found: Sequence[tuple[str, Candidate]]) -> dict[str, Candidate]:
    """Return images by id; raise NotPublished if two have one, since a second copy lies beside the first then."""
    by_id: dict[str, Candidate] = {}
    for identifier, one in found:
        other = by_id.setdefault(identifier, one)
        if other is not one:
            raise NotPublished(f"it holds {identifier} twice, as {other.place} and {one.place}; remove one of them")
    return by_id


def as_samples(by_id: Mapping[str, Candidate], texts: Mapping[str, str] | None = None) -> tuple[Sample, ...]:
    """Return images as samples, sorted by id.

    Args:
        by_id: the images.
        texts: captions by id; where there is none, the image's own is taken.
    """
    texts = texts or {}
    return tuple(Sample(i, by_id[i].path, texts.get(i, by_id[i].text), member=by_id[i].member) for i in sorted(by_id))
