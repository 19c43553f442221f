"""The text encoder's trainer: captions are written again from the mean of their features, and generators take it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recipes import assert_resumes

from lactok import config
from lactok.errors import UserError
from lactok.training.distributed import accelerator_of
from lactok.training.generator.text import text_encoder
from lactok.training.text import TextLearner, TextRecipe, TextTrainer
from lactok.training.text.captions import END, PAD, prepared, read
from lactok.training.text.recipe import TextShape

pytestmark = pytest.mark.slow  # trainings

COLOURS, THINGS = ("red", "green", "blue", "pink"), ("bus", "cat", "cup", "kite", "boat", "key")
LINES = [f"a {c} {a} and a {d} {b}" for c in COLOURS for d in COLOURS for a in THINGS for b in THINGS if a != b]
CONFIGS = Path(config.__file__).parent / "training" / "configs"


@pytest.fixture
def recipe(tmp_path: Path) -> TextRecipe:
    path = tmp_path / "captions.txt"
    path.write_text("".join(f"{line}\n" for line in [*LINES, LINES[0].upper(), ""]))
    return TextRecipe(
        name="words",
        data=str(path),
        steps=4,
        batch=8,
        held_out=20,
        peak_lr=3e-3,
        warmup=2,
        eval_every=4,
        save_every=2,
        log_every=1,
        text_tokens=10,
        word_dropout=0.1,
        noise=0.1,
        model=TextShape(32, 1, 2, 16, 32),
    )


def trainer(recipe: TextRecipe, out: Path) -> TextTrainer:
    return TextTrainer(recipe, TextLearner(recipe), out, accelerator_of("cpu"))


def test_equal_captions_count_once_and_none_is_on_both_sides(recipe: TextRecipe) -> None:
    captions, words = prepared(recipe)
    assert len(captions.lines) + len(captions.held_lines) == len(LINES)
    assert len(captions.held_lines) == 20
    assert not {*captions.lines} & {*captions.held_lines}
    assert words.get_vocab_size() == 3 + 1 + 1 + len(COLOURS) + len(THINGS)
    ids = captions.words[0].tolist()
    assert words.id_to_token(ids[7]) == END
    assert {words.id_to_token(i) for i in ids[8:]} == {PAD}


def test_killed_and_resumed_is_bit_for_bit(recipe: TextRecipe, tmp_path: Path) -> None:
    assert_resumes(tmp_path, lambda out: trainer(recipe, out), kept=3)


def test_it_learns_captions_that_it_has_not_seen(recipe: TextRecipe, tmp_path: Path) -> None:
    run = trainer(replace(recipe, steps=300, batch=32, eval_every=300, save_every=300), tmp_path / "run")
    run.run()
    rows = [json.loads(line) for line in (tmp_path / "run" / "curve.jsonl").read_text().splitlines()]
    (held,) = [row for row in rows if "held_out_whole" in row]
    # a writer that knows how often each word stands at each place, and nothing of the caption, has 0.79
    assert held["held_out_loss"] < 0.5


def test_a_generator_takes_its_folder(recipe: TextRecipe, tmp_path: Path) -> None:
    run = trainer(recipe, tmp_path / "run")
    run.run()
    found = text_encoder(str(tmp_path / "run" / "text"))
    assert found.width == 32
    encode = found.load(10, torch.device("cpu"))
    (features,) = encode([LINES[0]], torch.device("cpu"))
    assert features.shape == (8, 32)
    learner = run.learner
    assert isinstance(learner, TextLearner)
    with run.evaluating():
        words = prepared(recipe)[0].words[prepared(recipe)[0].lines.index(LINES[0])][None]
        expected = learner.encoder(words, (words != 0).long())[0, :8]
    torch.testing.assert_close(features, expected, atol=2e-3, rtol=2e-3)  # its file is in fp16
    assert encode.is_cut([" ".join(["bus"] * 20)]) == [True]


def test_pictures_with_captions_are_a_source_too(tmp_path: Path) -> None:
    from pairs import CAPTIONS, write_pairs

    assert sorted({*read(str(write_pairs(tmp_path / "pairs")))}) == sorted(CAPTIONS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [("", "holds no captions"), ("a cat\na bus\n", "has 2 different captions; more than the 20 held out are needed")],
)
def test_too_few_captions_are_told(recipe: TextRecipe, lines: str, message: str) -> None:
    Path(recipe.data).write_text(lines)
    with pytest.raises(UserError, match=message):
        TextLearner(recipe)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("text_tokens", 1, "2 or more"), ("word_dropout", 1.0, "take less"), ("vocabulary", 3, "from 4 to")],
)
def test_mistakes_in_recipes(recipe: TextRecipe, key: str, value: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(recipe, **{key: value})


def test_the_shipped_recipe_is_whole() -> None:
    assert config.read(CONFIGS / "text-tiny.toml", TextRecipe).text_tokens == 32
