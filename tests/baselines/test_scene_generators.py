"""The small generators of composed scenes and their tokenizers, which are shipped."""

from __future__ import annotations

import pytest
import torch

import lactok
from benchmarks.scenes.folder import caption_of
from benchmarks.speed import generate as speed
from lactok import registry
from lactok.errors import WrongValue
from lactok.nn.loading import Texts
from lactok.training.generator.text import NAMED

GENERATORS = {
    "lactokgen-h-tiny": (256, 256),
    "lactokgen-t-tiny": (256, 256),
    "llamagen-t2i-tiny": (576, 96),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_picture_depends_on_its_caption_and_its_seed_alone(name: str) -> None:
    ids, size = GENERATORS[name]
    generator = registry.load_generator(name)
    captions = ["a photo of a red bus", "a photo of two bottles", "a photo of a red bus"]
    pictures = generator.generate(captions, [1, 2, 3])
    assert pictures.shape == (3, 3, size, size)
    assert not torch.equal(pictures[0], pictures[2])  # another seed
    assert torch.allclose(pictures[1:2], generator.generate(captions[1:2], [2]), atol=2e-3)
    tokenizer = registry.generator_spec(name).tokenizer
    assert tokenizer is not None
    assert registry.tokenizer_spec(tokenizer).tokens == ids


def test_lactokgen_tiny_is_the_one_that_decodes_by_tlcm() -> None:
    first, second = (
        registry.load_generator(name).generate(["a photo of a kite"], [5])
        for name in ("lactokgen-tiny", "lactokgen-t-tiny")
    )
    assert torch.equal(first, second)


def test_the_text_encoder_knows_every_word_of_a_scene() -> None:
    texts = Texts(NAMED["scenes-text"].assets[-1], 24, "<pad>")
    captions = [str(caption_of(0, number)["prompt"]) for number in range(200)]
    ids, _ = texts(captions)
    assert not (ids == 2).any()  # 2 is <unk>
    assert not any(texts.is_cut(captions))


@pytest.mark.parametrize(("side", "ids"), [(56, 196), (64, 256), (72, 324), (96, 576)])
def test_the_tokenizer_of_scenes_takes_several_sides(side: int, ids: int) -> None:
    tokenizer = lactok.load(f"llamagen-vq4-scenes@input={side}")
    found = tokenizer.encode(torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (2, ids)
    assert tokenizer.decode(found).shape == (2, 3, side, side)


def test_the_speed_of_a_generators_own_transformer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        speed.main(["--generator", "lactokgen-tiny", "--batches", "2", "--repeats", "1", "--threads", "1"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "ids of float32 equal to the plain loop's: 100.00%" in said
    assert "bfloat16, arg max equal in " in said


def test_a_generator_without_a_transformer_of_captions_is_refused() -> None:
    from benchmarks.speed.decoding import of_generator

    with pytest.raises(WrongValue, match="sdxl: has no transformer from captions to ids; take lactokgen-tiny, say"):
        of_generator("sdxl", "cpu")
