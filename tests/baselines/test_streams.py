"""Making many images in batches: the images are those of single calls, and captions are read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_id_generators import CONDITIONS, small

from baselines import id_generator, llamagen_t2i
from baselines.id_generator import IdGenerator
from lactok import registry
from lactok.errors import UserError, WrongValue

__all__ = ["small"]  # the fixture
SEEDS = [11, 12, 13]


def load(name: str) -> IdGenerator:
    generator = registry.load_generator(name)
    assert isinstance(generator, IdGenerator)
    return generator


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_stream_gives_what_single_calls_give(small: Path, name: str, batch: int) -> None:
    generator = load(name)
    whole = generator.generate(CONDITIONS[name], SEEDS)
    step = {generator.stream: 1, generator.overlapped: batch}  # on the CPU, images are made one by one
    for stream, size in step.items():
        parts = list(stream(CONDITIONS[name], SEEDS, batch))
        assert [place for place, _ in parts] == [slice(start, min(start + size, 3)) for start in range(0, 3, size)]
        assert torch.allclose(torch.cat([images for _, images in parts]), whole, atol=1e-6)
    assert list(generator.stream([], [], batch)) == []


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_image_has_the_same_bits_in_any_batch_of_a_stream(small: Path, name: str) -> None:
    generator = load(name)
    conditions = CONDITIONS[name]
    (_, _, (_, last)) = generator.stream(conditions, SEEDS, 2)
    ((_, alone),) = generator.stream(conditions[2:], SEEDS[2:], 2)
    (_, (_, second)) = generator.stream([conditions[0], conditions[2]], [5, SEEDS[2]], 2)
    assert torch.equal(last, alone)
    assert torch.equal(last, second)


def test_an_error_while_images_are_made_is_raised(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("small-t2i")

    def fail(ids: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        raise UserError("overflowed")

    monkeypatch.setattr(generator.tokenizer, "decode", fail)
    with pytest.raises(UserError, match="overflowed"):
        list(generator.overlapped(CONDITIONS["small-t2i"], SEEDS, 1))


def test_a_caption_is_read_once_for_all_its_images(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("small-t2i")
    encoded: list[int] = []
    forward = generator.text.forward
    monkeypatch.setattr(generator.text, "forward", lambda ids, mask: encoded.append(len(ids)) or forward(ids, mask))
    prefix = generator.decoder.prefix
    read: list[int] = []
    monkeypatch.setattr(generator.decoder, "prefix", lambda f, m: read.append(len(f)) or prefix(f, m))
    list(generator.stream(["a red bus", "a cat", "a red bus", "two cat"], [0, 1, 2, 3], 1))
    assert encoded == [3]
    # three captions, and no caption for the two lengths that they have
    assert read == [1] * 5
    generator.generate(["two cat"], [9])
    assert encoded == [3]


def test_a_long_list_of_captions_is_read_piece_by_piece(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("small-t2i")
    monkeypatch.setattr(id_generator, "AHEAD", 3)
    monkeypatch.setattr(llamagen_t2i, "KEPT", 3)
    generator.captions.keep = 3
    encoded: list[int] = []
    forward = generator.text.forward
    monkeypatch.setattr(generator.text, "forward", lambda ids, mask: encoded.append(len(ids)) or forward(ids, mask))
    captions = ["a red bus", "a cat", "two cat", "a bus", "red cat", "the green bus", "a photo"]
    places = [place for place, _ in generator.overlapped(captions, range(7), 2)]
    assert places == [slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)]
    assert encoded == [2, 2, 2, 1]  # pieces are whole batches
    encoded.clear()
    list(generator.stream(captions, range(7), 1))
    assert encoded == [3, 3, 1]
    assert len(generator._known) == 3


def test_compilation_is_for_generators_that_have_it(small: Path) -> None:
    with pytest.raises(WrongValue, match="small-show-o has no compile"):
        registry.load_generator("small-show-o", compile=True)


def test_half_precision_makes_images(small: Path) -> None:
    half = registry.load_generator("small-t2i", dtype="bfloat16", temperature=0)
    assert half.model.tok_embeddings.weight.dtype == torch.bfloat16
    assert half.generate(["a red bus"], [0]).dtype == torch.float32


def test_seeds_may_be_integers_of_arrays(small: Path) -> None:
    generator = load("small-titok")
    expected = generator.generate([7], [3])
    for seed in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert torch.equal(generator.generate([7], [seed]), expected)
    for seed in (True, np.float64(3), -1, 2**63, "3"):
        with pytest.raises(ValueError, match="seeds are integers"):
            generator.generate([7], [seed])
    with pytest.raises(ValueError, match="takes a list of seeds, one for each condition, not 3"):
        generator.generate([7], 3)  # type: ignore[arg-type]


def test_a_call_decodes_images_one_by_one_on_a_cpu(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load("small-t2i")
    decode = generator.tokenizer.decode
    rows: list[int] = []
    monkeypatch.setattr(generator.tokenizer, "decode", lambda ids, seeds: rows.append(len(ids)) or decode(ids, seeds))
    generator.generate(CONDITIONS["small-t2i"], SEEDS)
    assert rows == [1, 1, 1]
