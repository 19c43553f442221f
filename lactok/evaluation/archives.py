"""Archives of images: webdataset shards and other tar files, zip files, and Parquet files as model hubs write them.

They are listed by their headers alone; see `lactok.evaluation.members` for reading an image.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lactok.errors import MissingFile, WrongValue
from lactok.evaluation import captions
from lactok.evaluation.folders import is_hidden
from lactok.evaluation.members import DEFLATED, STORED, Member, RowMember, TarMember, ZipMember
from lactok.evaluation.names import utf8
from lactok.evaluation.tar_index import COMPRESSED, index, refuse_compressed, sample_of
from lactok.images import EXTENSIONS, UnreadableImage
from lactok.outside_text import shown

ENDINGS = (".tar", ".zip", ".parquet", *COMPRESSED)  # compressed tar files are named in the message that refuses them
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inside:
    """An image in an archive.

    Attributes:
        name: its name: the path of a tar's or zip's member, or what a Parquet's row says.
        archive: the archive.
        member: where it is in the archive.
        label: what the archive says that it shows, such as a category's name; "" where it says nothing.
        text: the caption, where it stands beside the image in a row; for a tar's member see `caption_of`.
        is_named: whether the archive gives the image a name; rows without one are called by their numbers.
    """

    name: str
    archive: Path
    member: Member
    label: str = ""
    text: str | None = None
    is_named: bool = True


def caption_of(name: str, archive: Path, member: Member | None) -> str | None:
    """Return the caption that a tar holds beside an image, None if there is none.

    Args:
        name: the image's name, for messages.
        archive: the tar.
        member: where the image is.

    Raises:
        WrongValue: it cannot be read, or is no text.
    """
    if not isinstance(member, TarMember) or member.caption is None:
        return None
    offset, size, ending = member.caption
    where = f"the caption of {shown(name)} in {shown(archive, 200)}"
    try:
        return captions.beside(TarMember(offset, size).read(archive), ending, where) or None
    except (OSError, UnreadableImage) as error:
        raise WrongValue(f"{where} cannot be read: {error}") from error


def is_archive(path: Path) -> bool:
    """Return whether a file of this name is taken for an archive of images."""
    return path.name.lower().endswith(ENDINGS)


def images_in(archives: Sequence[Path]) -> list[Inside]:
    """Return the images in archives, sorted by name as `lactok.evaluation.folders.names_under` sorts.

    Of a tar that was cut short, the images that are whole are taken, and a line in the log says so.

    Raises:
        MissingFile: an archive cannot be opened.
        WrongValue: it is damaged, compressed as a whole, or two of the images have one name.
    """
    found: dict[str, Inside] = {}
    for archive in archives:
        try:
            for one in _listed(archive):
                other = found.setdefault(one.name, one)
                if other is not one:
                    places = dict.fromkeys(shown(path, 200) for path in (other.archive, archive))
                    raise WrongValue(f"two images have the name {shown(one.name)}, in {' and '.join(places)}")
        except OSError as error:
            raise MissingFile(f"cannot read {shown(archive, 200)}: {error.strerror or error}") from error
    return [found[name] for name in sorted(found, key=lambda name: name.split("/"))]


def _listed(archive: Path) -> Iterator[Inside]:
    """Yield the images of one archive, as its ending says that it is."""
    ending = archive.suffix.lower()
    if ending == ".zip":
        return _of_zip(archive)
    if ending == ".parquet":
        return _of_parquet(archive)
    return _of_tar(archive)


def _name_of(path: str) -> str | None:
    """Return an image's path in an archive as its name, None if it is hidden or a copy that systems make.

    Bytes that are no UTF-8 become escapes such as "\\xff". Of an absolute path, which is one of some other machine, the
    file's name is taken.
    """
    pure = PurePosixPath(utf8(path))
    if pure.is_absolute():
        pure = PurePosixPath(pure.name)
    return None if any(is_hidden(part) for part in pure.parts) else str(pure)


def _of_tar(archive: Path) -> Iterator[Inside]:
    """Yield the images of a tar, with their captions where webdataset's rule gives them some."""
    refuse_compressed([archive])
    found = index(archive)
    if found.fault.startswith("not a tar"):
        raise WrongValue(f"{shown(archive, 200)} is damaged: {found.fault}; get it again")
    if found.twice:
        raise WrongValue(f"{shown(archive, 200)} holds two images of the name {shown(found.twice)}")
    if found.fault:
        logger.warning("warning: %s is damaged: %s", shown(archive, 200), found.fault)
    if found.others:
        logger.warning(
            "warning: %s: %d images are left out: members whose names are equal up to the first dot are one sample, as "
            "in webdataset, and one image of it is taken; unpack the tar, or pack a zip, to have them all",
            shown(archive, 200),
            found.others,
        )
    beside: dict[str | None, tuple[int, int, str]] = {}
    for ending in reversed(captions.ENDINGS):  # the first ending has the last word
        for text in index(archive, (ending,)).members:
            beside[sample_of(text.name)] = text.offset, text.size, ending
    for image in found.members:
        name = _name_of(image.name)
        if name is not None:
            yield Inside(name, archive, TarMember(image.offset, image.size, beside.get(sample_of(image.name))))


def _of_zip(archive: Path) -> Iterator[Inside]:
    """Yield the images of a zip."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise WrongValue(f"{shown(archive, 200)} is damaged or cut short ({error}); get it again") from error
    for entry in entries:
        name = _name_of(entry.filename)
        if name is None or entry.is_dir() or not name.lower().endswith(EXTENSIONS):
            continue
        if entry.flag_bits & 1 or entry.compress_type not in (STORED, DEFLATED):
            raise WrongValue(f"{shown(archive, 200)}: {shown(name)} is encrypted or packed in a rare way; unpack it")
        place = entry.header_offset, entry.compress_size, entry.file_size
        yield Inside(name, archive, ZipMember(*place, entry.compress_type, entry.CRC))


def _of_parquet(archive: Path) -> Iterator[Inside]:
    """Yield the images of a Parquet file: the rows of a column of {bytes, path}, or of bytes.

    A row's name is its path, or else the file's name and the row's number. Of the other columns, the one called
    "label" or "category" tells what the image shows, and one of the keys of captions its caption.
    """
    import pyarrow.parquet

    name = shown(archive, 200)
    try:
        with pyarrow.parquet.ParquetFile(archive) as file:
            schema = file.schema_arrow
            column, holds_path = _image_column(schema, name)
            outer = column.partition(".")[0]
            texts = [f.name for f in schema if f.name in captions.KEYS and str(f.type).endswith("string")]
            labels = [f.name for f in schema if f.name in ("category", "label")]
            label_names = _label_names(schema.metadata or {}, labels[0]) if labels else []
            wanted = [*texts[:1], *labels[:1], *([f"{outer}.path"] if holds_path else [])]
            row = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                values = file.read_row_group(group, wanted, use_threads=False).to_pylist() if wanted else [{}] * rows
                for i, value in enumerate(values):
                    path = (value.get(outer) or {}).get("path") if holds_path else None
                    is_named = isinstance(path, str) and path != ""
                    own = _name_of(str(path)) if is_named else f"{archive.stem}/{row:06}"
                    row += 1
                    if own is None:
                        continue
                    label = value.get(labels[0]) if labels else None
                    if isinstance(label, int) and 0 <= label < len(label_names):
                        label = label_names[label]
                    text = value.get(texts[0]) if texts else None
                    yield Inside(
                        own,
                        archive,
                        RowMember(group, i, column),
                        label if isinstance(label, str) else "",
                        " ".join(text.split()) or None if isinstance(text, str) else None,
                        is_named,
                    )
    except (pyarrow.lib.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = " ".join(str(error).split())[:100]
        raise WrongValue(f"{name} is damaged or no Parquet file ({why}); get it again") from error


def _image_column(schema: Any, name: str) -> tuple[str, bool]:
    """Return the column of images' bytes in a Parquet file, and whether their paths stand beside it in a struct.

    Args:
        schema: the file's Arrow schema.
        name: what messages call the file.

    Raises:
        WrongValue: there is none, or none of several is called "image".
    """
    import pyarrow.types

    def holds_bytes(kind: Any) -> bool:
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found = {}
    for field in schema:
        if pyarrow.types.is_struct(field.type):
            inner = {child.name: child.type for child in field.type}
            if "bytes" in inner and holds_bytes(inner["bytes"]):
                found[field.name] = f"{field.name}.bytes", "path" in inner
        elif holds_bytes(field.type):
            found[field.name] = field.name, False
    if not found:
        raise WrongValue(f"{name} has no column of images; its columns are {shown(', '.join(schema.names), 200)}")
    chosen = next((n for n in ("image", "img", "jpg") if n in found), None)
    if chosen is None and len(found) > 1:
        raise WrongValue(f"{name} has several columns of images ({', '.join(found)}), and none is called image")
    return found[chosen or next(iter(found))]


def _label_names(metadata: Mapping[bytes, bytes], column: str) -> list[str]:
    """Return the names of the numbers in a column of labels, as the library datasets notes them in a schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(n) for n in names] if isinstance(names, list) else []
