"""A few pictures with captions, and a very small recipe of a generator's training on them."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from recipes import small_keys
from texts import text_folder

from lactok.training.distributed import accelerator_of
from lactok.training.generator import GeneratorLearner, GeneratorRecipe, GeneratorShape, GeneratorTrainer

CAPTIONS = ["a red bus", "two cat", "a photo of the green bus on the red cat", "a green cat on the bus", "red"]
SHAPE = GeneratorShape(32, 2, 4, 48, 8)  # captions of more than seven words are cut
PICTURES = 12


def write_pairs(folder: Path, captions: bool = True) -> Path:
    """Write pictures, with a caption beside each if these are wanted, and return the folder."""
    from conftest import photograph

    folder.mkdir(parents=True)
    for i in range(PICTURES):
        photograph(i).save(folder / f"{i:03}.png")
        if captions:
            (folder / f"{i:03}.txt").write_text(CAPTIONS[i % len(CAPTIONS)])
    return folder


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """Write a shard of these members, by name, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, BytesIO(content))
    return path


def trainer(recipe: GeneratorRecipe, out: Path) -> GeneratorTrainer:
    """Return a trainer of this process on the CPU."""
    return GeneratorTrainer(recipe, GeneratorLearner(recipe), out, accelerator_of("cpu"))


def changed(recipe: GeneratorRecipe, **values: Any) -> GeneratorRecipe:
    """Return the recipe with other values."""
    return replace(recipe, **values)


@pytest.fixture
def pair_recipe(tmp_path: Path, own_cache: Path) -> GeneratorRecipe:
    """A recipe over twelve pictures with captions, of the tokenizer `toy` and a text encoder in a folder."""
    keys = small_keys(write_pairs(tmp_path / "pairs"), 32)
    text = str(text_folder(tmp_path / "words"))
    return GeneratorRecipe(name="small", tokenizer="toy", text=text, model=SHAPE, shard=5, **keys)
