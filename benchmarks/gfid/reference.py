"""The reference that pictures are compared with: photographs, or an .npz file of pictures, statistics, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gfid.arrays import PICTURES, headers, pictures_of, statistics_of
from benchmarks.gfid.pictures import ArrayPictures, FolderPictures, Pictures, array_samples, prepared_to
from lactok.errors import WrongValue
from lactok.evaluation import datasets
from lactok.evaluation.datasets import Dataset, file_sha256
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Store
from lactok.metrics.frechet import Gaussian

HOW = "a folder of photographs, a data set's name, or an .npz file as ADM's VIRTUAL_imagenet256_labeled.npz"


@dataclass(frozen=True)
class Reference:
    """A reference that was opened and checked.

    Attributes:
        name: its name, which ends in a few digits of its content's hash (but for a data set that has a name).
        kind: "photographs", "pictures", "statistics", or "statistics and pictures" as ADM's files.
        sha256: the hash of its content.
        n: the number of photographs or pictures of which the FID's statistics are, None where that is not known.
        photographs: the photographs of a folder; they are brought to the size of the pictures.
        gaussian: the statistics of a file, of which the FID is.
        path: the .npz file.
    """

    name: str
    kind: str
    sha256: str
    n: int | None
    photographs: Dataset | None = None
    gaussian: Gaussian | None = None
    path: Path | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether there are pictures, which precision and recall need."""
        return self.kind != "statistics"

    def pictures(self, side: int, store: Store) -> Pictures | None:
        """Return its photographs at this size, or its pictures as they are; None where it has none."""
        if self.photographs is not None:
            return FolderPictures(self.name, self.photographs, side)
        if self.path is None or not self.has_pictures:
            return None
        array = pictures_of(self.path, headers(self.path, "reference"), "reference", store)
        return ArrayPictures(self.name, Dataset(self.name, array_samples(array)), array)

    def describe(self, side: int, skipped: list[dict[str, str]]) -> dict[str, Any]:
        """Return the part `reference` of a result."""
        prepare = prepared_to(side).settings() if self.photographs is not None else None
        about = {"name": self.name, "kind": self.kind, "sha256": self.sha256, "n": self.n}
        if self.photographs is not None:
            about["list_sha256"] = self.photographs.list_sha256
        return about | {"prepare": prepare, "skipped": skipped}


def read(given: str | None) -> Reference:
    """Open and check the reference that the user names.

    Raises:
        WrongValue: none is named, or the file is no reference.
        MissingFile, UnknownName: there is no such file, folder or data set.
    """
    if not given:
        raise WrongValue(f"FID is a distance to a reference: name it by `reference`: {HOW}")
    path = Path(given)
    if path.suffix.lower() != ".npz":
        dataset = datasets.get(given, argument="reference")
        sha256 = digest([[sample.id, sample.sha256] for sample in dataset.samples])
        return Reference(dataset.name, "photographs", sha256, len(dataset.samples), photographs=dataset)
    known = headers(path, "reference")
    has_pictures, has_statistics = PICTURES in known, "mu" in known or "sigma" in known
    if not has_pictures and not has_statistics:
        names = ", ".join(sorted(known))[:100]
        raise WrongValue(
            f"`reference` {path}: it holds {names}; a reference has mu and sigma, or pictures in {PICTURES}"
        )
    gaussian, n = statistics_of(path, known, "reference") if has_statistics else (None, None)
    if has_pictures:
        pictures = pictures_of(path, known, "reference", None)
        n = n if has_statistics else len(pictures)
    kinds = ["statistics"] * has_statistics + ["pictures"] * has_pictures
    sha256 = file_sha256(path)
    return Reference(f"{path.stem}-{sha256[:6]}", " and ".join(kinds), sha256, n, gaussian=gaussian, path=path)
