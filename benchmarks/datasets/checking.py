"""Checking a data set: its layout, names and numbers, the headers of its images, and the digests that tell it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lactok.errors import UserError, WrongValue, first_few
from lactok.evaluation.datasets import Dataset, data_folder, get
from lactok.evaluation.protocol import digest
from lactok.evaluation.published_sets import PUBLISHED, samples_of


def checked(name: str, data: Path | None = None, contents: bool = False) -> str:
    """Return what a data set is, line by line.

    Args:
        name: what `dataset` takes.
        data: the folder of the published sets.
        contents: read the bytes of every image too, for the digest of all.

    Raises:
        UserError: it is not here, is not the published set, or has images that cannot be read.
    """
    if not name:
        raise WrongValue("NAME is empty: give a published set, a folder, a list or an archive")
    if name in PUBLISHED:
        found = Dataset(name, samples_of(name, data_folder(name, data)))
        lines = [f"{name}: {PUBLISHED[name].title}, in {data_folder(name, data)}"]
    else:
        found = get(name, data, argument="name")
        lines = [f"{found.name}: no published set"]
    samples = found.samples
    broken = [sample.id for sample in samples if sample.size() is None]
    if broken:
        raise UserError(
            f"{found.name}: {len(broken)} of {len(samples)} images cannot be read: {first_few(broken, 3)}; get them "
            "again (a suite leaves such images out)"
        )
    lines.append(f"{len(samples)} images, the header of each can be read")
    folders = Counter(sample.id.rpartition("/")[0] for sample in samples)
    if 1 < len(folders) <= 20:
        lines.append("of them " + ", ".join(f"{count} in {folder or '.'}" for folder, count in sorted(folders.items())))
    captions = sum(sample.caption is not None for sample in samples)
    if captions:
        lines.append(f"captions: {captions}")
    lines.append(f"sha256 of the list of ids: {found.list_sha256}")
    if contents:
        lines.append(f"sha256 of ids and images:  {digest([[s.id, s.sha256] for s in samples])}")
    return "\n".join(lines)
