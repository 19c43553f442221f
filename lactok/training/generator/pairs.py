"""The stored ids and text features of a data set, read from their files where a training asks for them."""

from __future__ import annotations

import hashlib
import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lactok.errors import UserError, disk_errors, one_line
from lactok.evaluation.protocol import digest
from lactok.training import distributed
from lactok.training.data import Photo, Photos
from lactok.training.generator import captions, extract
from lactok.training.generator.extract import Extraction
from lactok.training.generator.recipe import GeneratorRecipe
from lactok.training.generator.text import TextEncoder
from lactok.training.held_out import LOOKED_AT

if TYPE_CHECKING:
    from accelerate import Accelerator

OPEN = 256  # files that are kept open; a file is mapped into memory, and only what is asked for is read


class Extracted:
    """The files that `Extraction` wrote; a row is the place of a picture in all files together.

    Args:
        files: the files in order.
        shard: number of pictures in each but the last.

    Attributes:
        state: what became of each picture, (N,) uint8, see `lactok.training.generator.extract`.
        cut: which captions' ends were not read, (N,) bool.

    Raises:
        UserError: a file is damaged.
    """

    def __init__(self, files: Sequence[Path], shard: int):
        self.files, self.shard = files, shard
        self._open: OrderedDict[int, tuple[Any, np.ndarray]] = OrderedDict()
        self.state = np.concatenate([self._tensor(number, "state") for number in range(len(files))])
        self.cut = np.concatenate([self._tensor(number, "cut") for number in range(len(files))]) > 0

    def _file(self, number: int) -> tuple[Any, np.ndarray]:
        """Return an open file and where the features of its captions end."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        from safetensors import safe_open

        try:
            file = safe_open(self.files[number], "pt")
            found = file, file.get_tensor("ends").numpy()
        except Exception as error:  # errors of safetensors have no common class
            raise UserError(f"{self.files[number]} is damaged ({one_line(error)}); delete it and run again") from error
        self._open[number] = found
        if len(self._open) > OPEN:
            self._open.popitem(last=False)
        return found

    def _tensor(self, number: int, name: str) -> np.ndarray:
        return np.asarray(self._file(number)[0].get_tensor(name).numpy())

    def ids(self, row: int, variant: int) -> Tensor:
        """Return the ids of a picture's square, (tokens,) int64."""
        number, place = divmod(row, self.shard)
        stored: Tensor = self._file(number)[0].get_slice("ids")[place : place + 1]
        return stored[0, variant].long()

    def features(self, row: int) -> Tensor:
        """Return the features of a picture's caption, (n, width) float32."""
        number, place = divmod(row, self.shard)
        file, ends = self._file(number)
        start = int(ends[place - 1]) if place else 0
        stored: Tensor = file.get_slice("features")[start : int(ends[place])]
        return stored.float()


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the random order (count,) in which an epoch takes the pairs."""
    return np.random.default_rng([seed, 1 << 32, epoch]).permutation(count)


@dataclass(frozen=True)
class Pairs(Photos):
    """The pictures that have a caption, with their ids and the features of their captions.

    They are known by rows; of the pictures to train on, `train` holds only a few, whose sizes are looked at.

    Attributes:
        stored: the ids and features.
        rows: the rows of the pairs to train on, (N,) int64.
        held_rows: the rows of the pairs that are held out, (M,) int64.
        variants: number of squares of each picture.
        identity: digest of all that the ids and features depend on.
    """

    stored: Extracted
    rows: np.ndarray
    held_rows: np.ndarray
    variants: int
    identity: str

    def digest(self) -> str:
        return self.identity

    def at(self, position: int, seed: int) -> np.ndarray:
        """Return row and variant, (2,) int64, of the pair at a position of a run with this seed.

        The run is a sequence of epochs, each a random permutation of the pairs; the variants take turns.
        """
        epoch, place = divmod(position, len(self.rows))
        return np.array([self.rows[_order(len(self.rows), seed, epoch)[place]], epoch % self.variants], np.int64)

    def batch(self, places: Tensor, text_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read some pairs.

        Args:
            places: row and variant of each, (B, 2) int64.
            text_tokens: number of positions of a caption, T.

        Returns:
            Ids (B, L) int64; features (B, T, width) float32 with zeros at the front where a caption is shorter; and
            mask (B, T) int64, 0 there.
        """
        rows = places.tolist()
        ids = torch.stack([self.stored.ids(row, variant) for row, variant in rows])
        features = [self.stored.features(row) for row, _ in rows]
        padded = torch.zeros(len(rows), text_tokens, features[0].shape[1])
        mask = torch.zeros(len(rows), text_tokens, dtype=torch.int64)
        for place, own in enumerate(features):
            padded[place, text_tokens - len(own) :] = own
            mask[place, text_tokens - len(own) :] = 1
        return ids, padded, mask


def prepared(
    recipe: GeneratorRecipe, text: TextEncoder, text_tokens: int, out: Path, accelerator: Accelerator
) -> Pairs:
    """Find the pictures and captions of a recipe, extract what is missing, and return the pairs.

    All processes must call it; they share the extraction.

    Args:
        recipe: the recipe.
        text: its text encoder.
        text_tokens: number of features of a caption, at most.
        out: the run's folder.
        accelerator: the accelerator of this process.

    Raises:
        UserError: there are no pictures, too few of them have a caption, weights cannot be had, or a disk is full.
    """
    with distributed.main_first(accelerator):
        whole = Photos.of(recipe.data, 0, out)
        photos = whole.train
        found = captions.find(photos, recipe.data, recipe.captions, out / "captions")
        check_enough(int(found.there().sum()), recipe)
        settings = extract.settings_of(recipe, text, text_tokens, whole.digest(), found.digest())
    identity = digest(settings)
    root = Path(recipe.extracted).expanduser() if recipe.extracted else out / "extracted"
    order = disk_order(photos)
    work = Extraction(recipe, text, text_tokens, photos, found, order, settings, root / identity[:16], out)
    try:
        with disk_errors(root, "choose another `extracted`; what was extracted stays, and the run goes on from there"):
            work.run(accelerator.process_index, accelerator.num_processes, accelerator.device)
    finally:
        accelerator.wait_for_everyone()
    if missing := work.missing():
        raise UserError(f"{work.folder}: {len(missing)} files are missing, since another process stopped; run again")
    stored = Extracted(work.files(), recipe.shard)
    if accelerator.is_main_process:
        for line in said(stored, [photos[n] for n in order[stored.state == extract.WITHOUT_CAPTION][:3]]):
            print(line, flush=True)
    row_of = np.empty_like(order)
    row_of[order] = np.arange(len(order))
    return split(photos, stored, row_of, recipe, identity)


def check_enough(pairs: int, recipe: GeneratorRecipe) -> None:
    """Raise UserError if there are not more pairs than a recipe holds out."""
    if pairs <= recipe.held_out:
        raise UserError(
            f"{recipe.data} has {pairs} pictures with a caption that can be read; more than the {recipe.held_out} held "
            "out are needed"
        )


def disk_order(photos: Sequence[Photo]) -> np.ndarray:
    """Return the numbers of photographs (N,) int64 as they lie on the disk: those of a shard one after the other."""
    shards: dict[Path, int] = {}
    places = np.full((2, len(photos)), -1, np.int64)  # offset in the shard, number of the shard
    for number, photo in enumerate(photos):
        if photo.member:
            places[:, number] = photo.offset, shards.setdefault(photo.file, len(shards))
    return np.lexsort(places).astype(np.int64)  # image files come first and stay in their order


def said(stored: Extracted, without: Sequence[Photo]) -> list[str]:
    """Return what a user should know about the pairs, in a few lines.

    Args:
        stored: the ids and features.
        without: the first pictures without a caption.
    """
    total, lines = len(stored.state), []
    if missing := int((stored.state == extract.WITHOUT_CAPTION).sum()):
        names = ", ".join(photo.name for photo in without)
        more = f" and {missing - len(without)} more" if missing > len(without) else ""
        lines.append(f"left out: {missing} of {total} pictures without a caption: {names}{more}")
    if broken := int((stored.state == extract.UNREADABLE).sum()):
        lines.append(f"left out: {broken} of {total} pictures that cannot be read; they are named in broken.txt")
    if cut := int(stored.cut.sum()):
        lines.append(f"{cut} of {total} captions are longer than the text encoder reads, so their ends are not read")
    return lines


def split(
    photos: Sequence[Photo], stored: Extracted, row_of: np.ndarray, recipe: GeneratorRecipe, identity: str
) -> Pairs:
    """Split the pairs as `Photos.of` splits photographs: those with the lowest sha256 of the name are held out.

    Args:
        photos: all photographs.
        stored: their ids and features.
        row_of: the row of each photograph, (N,) int64.
        recipe: the recipe.
        identity: digest of all that the ids and features depend on.

    Raises:
        UserError: there are not more pairs than are held out.
    """
    usable = np.flatnonzero(stored.state[row_of] == extract.USABLE)
    check_enough(len(usable), recipe)

    def name_hash(number: int) -> bytes:
        return hashlib.sha256(photos[number].name.encode("utf-8", "surrogatepass")).digest()

    held = np.sort(np.array(heapq.nsmallest(recipe.held_out, map(int, usable), key=name_hash), np.int64))
    learned = np.setdiff1d(usable, held, assume_unique=True)
    looked_at = learned[:: max(1, len(learned) // LOOKED_AT)]
    return Pairs(
        tuple(photos[int(number)] for number in looked_at),
        tuple(photos[int(number)] for number in held),
        stored,
        row_of[learned],
        row_of[held],
        recipe.variants,
        identity,
    )
