"""Training of a generator from captions to ids: its loss, resuming, and loading what was trained."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pairs import SHAPE, changed, trainer
from PIL import Image
from recipes import assert_resumes
from safetensors.torch import load_file, save_file
from texts import TEXT

import lactok
from lactok import config, registry
from lactok.errors import UserError
from lactok.generate import main as generate
from lactok.nn.gpt import GPT, GPTConfig, left_padded, visible
from lactok.nn.gpt_decoding import Decoder
from lactok.nn.loading import Texts
from lactok.nn.t5 import T5Encoder, clean
from lactok.nn.token_sampling import Sampling
from lactok.training.__main__ import main
from lactok.training.distributed import accelerator_of, unsharded
from lactok.training.generator import (
    GeneratorLearner,
    GeneratorRecipe,
    GeneratorShape,
    GeneratorTrainer,
    learner,
    trained,
)
from lactok.training.generator.text import text_encoder
from lactok.training.tiny import CONFIGS
from lactok.weights.metadata import notes, shape


def directly(recipe: GeneratorRecipe, names: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, features and mask of pictures, computed without the trainer's code."""
    from lactok.images import Prepare, open_photograph, prepare

    torch.manual_seed(0)
    encoder = T5Encoder(TEXT).eval()
    texts = Texts(text_encoder(recipe.text).assets[-1], SHAPE.text_tokens, "<pad>")
    captions = [clean(Path(recipe.data, name).with_suffix(".txt").read_text()) for name in names]
    ids, mask = texts(captions)
    with torch.no_grad():
        features, mask = left_padded(encoder(ids, mask), mask)
    squares = [prepare(open_photograph(Path(recipe.data, name)), Prepare(32)) for name in names]
    images = torch.stack([torch.tensor(square).permute(2, 0, 1).float() / 255 for square in squares])
    return lactok.load("toy").encode(images).clone(), features, mask


def names_at(run: GeneratorTrainer, places: torch.Tensor) -> list[str]:
    """The names of the pictures at rows, which are numbers of the pictures sorted by name here."""
    return [f"{row:03}.png" for row in places[:, 0].tolist()]


def test_the_loss_is_that_of_the_GPT(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    run = trainer(changed(pair_recipe, caption_dropout=0.0, features="fp32"), tmp_path / "out")
    model = run.learner.model
    with torch.no_grad():  # the output layer starts from zeros, which would hide the rest
        model.output.weight.normal_()
    places = run.pictures(range(4))
    ids, features, mask = directly(run.recipe, names_at(run, places))
    with torch.no_grad():
        expected = model.loss(features, ids, visible(mask, model.config, 4))
        loss, _ = run.learner(places, torch.arange(4), 0)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss) > math.log(64)  # of random weights, worse than of none
    held = torch.stack([torch.from_numpy(run.pairs.held_rows), torch.zeros(2, dtype=torch.int64)], 1)
    ids, features, mask = directly(run.recipe, names_at(run, held))
    run.learner.eval()
    with torch.no_grad():
        values, _ = run.learner.evaluate(())
        allowed = visible(mask, model.config, 2)
        empty = model.cls_embedding.uncond_embedding.expand_as(features)
        logits = model(features, ids[:, :-1], allowed)[:, SHAPE.text_tokens - 1 :]
        assert values["loss"] == pytest.approx(float(model.loss(features, ids, allowed)), rel=1e-6)
        assert values["loss_without_caption"] == pytest.approx(float(model.loss(empty, ids, allowed)), rel=1e-6)
    assert values["accuracy"] == pytest.approx(float((logits.argmax(-1) == ids).float().mean()))


def test_captions_are_dropped_by_the_seeds_of_positions(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    run = trainer(changed(pair_recipe, caption_dropout=0.3), tmp_path / "out")
    seeds, features = [*range(200)], torch.randn(200, SHAPE.text_tokens, 16)
    learner = run.learner
    assert isinstance(learner, GeneratorLearner)
    out = learner.without_caption(features, seeds)
    empty = learner.model.cls_embedding.uncond_embedding
    dropped = [bool(torch.equal(row, empty)) for row in out]
    assert 30 < sum(dropped) < 90
    for seed, row, is_dropped in zip(seeds, features, dropped, strict=True):
        alone = learner.without_caption(row[None], [seed])[0]
        assert torch.equal(alone, empty if is_dropped else row)
    # an image without its caption keeps the mask of its caption's padding, and its loss is that of no caption
    with torch.no_grad():
        learner.model.output.weight.normal_()
    places = run.pictures(range(1))
    ids, _, mask = run.pairs.batch(places, SHAPE.text_tokens)
    seed = dropped.index(True)
    with torch.no_grad():
        loss, _ = learner(places, torch.tensor([seed]), 0)
        expected = learner.model.loss(empty[None], ids, visible(mask, learner.model.config, 1))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_dropout_is_drawn_from_the_seeds(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"dropout": 0.2, "caption_dropout": 0.0, "extracted": str(tmp_path / "extracted")}
    found = []
    for checkpointing in (False, True):
        run = trainer(changed(pair_recipe, checkpointing=checkpointing, **keys), tmp_path / str(checkpointing))
        run.learner.train()
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            run.learner.model.output.weight.normal_(generator=generator)
        places, seeds = run.pictures(range(3)), torch.tensor([5, 6, 7])
        loss, _ = run.learner(places, seeds, 0)
        loss.backward()
        loss = loss.detach()
        found.append((loss, {k: p.grad for k, p in run.learned.items()}))
        with torch.no_grad():
            alone = [float(run.learner(places[i : i + 1], seeds[i : i + 1], 0)[0]) for i in range(3)]
            assert float(loss) == pytest.approx(sum(alone) / 3, rel=1e-5)
            assert float(run.learner(places, seeds + 1, 0)[0]) != float(loss)
            run.learner.eval()
            assert float(run.learner(places, seeds, 0)[0]) == float(run.learner(places, seeds + 1, 0)[0])
    (loss, gradients), (again, others) = found
    assert float(again) == float(loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, msg=name)


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.1, "variants": 2, "accumulate": 2}])
def test_killed_and_resumed_is_bit_for_bit(
    pair_recipe: GeneratorRecipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = changed(pair_recipe, caption_dropout=0.5, **changes)
    assert_resumes(tmp_path, lambda out: trainer(recipe, out))


@pytest.mark.parametrize("at", ["save_state", "write_atomically"])
def test_killed_in_the_evaluation(
    pair_recipe: GeneratorRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """What is written after the last step's checkpoint is written by the next start."""
    from lactok.training.generator import trainer as code

    first = trainer(pair_recipe, tmp_path / "out")
    place: Any = code.checkpoint if at == "save_state" else code
    written = getattr(place, at)

    def killed(path: Path, *more: Any) -> None:
        if path.stem == "small":
            raise KeyboardInterrupt
        written(path, *more)

    with monkeypatch.context() as killing:
        killing.setattr(place, at, killed)
        with pytest.raises(KeyboardInterrupt):
            first.run()
    trainer(pair_recipe, tmp_path / "out").run()
    trainer(pair_recipe, tmp_path / "whole").run()
    for name in ("small.py", "small.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    lines = [(tmp_path / out / "curve.jsonl").read_text().splitlines() for out in ("out", "whole")]
    assert lines[0][-1] == lines[1][-1]
    assert "held_out_loss" in lines[0][-1]


def test_evaluation_computes_in_the_recipe_s_precision(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    for precision, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        recipe = changed(pair_recipe, precision=precision)
        run = GeneratorTrainer(recipe, GeneratorLearner(recipe), tmp_path / precision, accelerator_of("cpu", precision))
        seen: set[torch.dtype] = set()
        run.learner.model.output.register_forward_hook(lambda _, __, out, seen=seen: seen.add(out.dtype))
        run.evaluate()
        assert seen == {dtype}


def test_epochs_take_the_variants_in_turn(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    run = trainer(changed(pair_recipe, variants=2, scale=(32, 48)), tmp_path / "out")
    count = len(run.pairs.rows)
    first, second, third = (run.pictures(range(i * count, (i + 1) * count)) for i in range(3))
    assert sorted(first[:, 0].tolist()) == sorted(second[:, 0].tolist()) == sorted(run.pairs.rows.tolist())
    assert first[:, 0].tolist() != second[:, 0].tolist()
    assert {*first[:, 1].tolist(), *third[:, 1].tolist()} == {0}
    assert {*second[:, 1].tolist()} == {1}


def test_it_learns_and_what_is_trained_makes_pictures(
    pair_recipe: GeneratorRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = changed(pair_recipe, steps=200, batch=4, peak_lr=1e-2, save_every=200, eval_every=200, average=0.5)
    run = trainer(recipe, tmp_path / "out")
    run.run()
    rows = [json.loads(line) for line in (tmp_path / "out" / "curve.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(math.log(64), rel=1e-4)
    assert rows[199]["loss"] < 1
    assert {"held_out_loss", "held_out_accuracy", "held_out_loss_without_caption"} < rows[-1].keys()
    # what was trained on is predicted by its own caption, less so by none or another's
    run.learner.eval()
    rows_seen = torch.from_numpy(run.pairs.rows)
    ids, features, mask = run.pairs.batch(torch.stack([rows_seen, torch.zeros_like(rows_seen)], 1), SHAPE.text_tokens)
    network, count = run.learner.model, len(ids)
    empty = network.cls_embedding.uncond_embedding.expand_as(features)
    given = ((features, mask), (empty, mask), (features.roll(1, 0), mask.roll(1, 0)))
    with torch.no_grad():
        own, none, other = (float(network.loss(f, ids, visible(m, network.config, count))) for f, m in given)
    assert own < 0.6 * none
    assert own < 0.6 * other
    said = notes(run.export_path)
    assert (said["tokenizer"], said["text"]) == ("toy", recipe.text)
    assert shape(run.export_path, "model", GPTConfig) == run.learner.model.config
    # by the file that the trainer wrote, from a script and from the command line
    name = f"{tmp_path / 'out' / 'small.py'}:Trained"
    monkeypatch.setenv("LACTOK_WEIGHTS", "")
    generator = lactok.load_generator(name, guidance=2.0)
    assert generator.spec.tokenizer == "toy"
    picture = generator.generate(["a red bus"], [3])
    weights = {k: v.float() for k, v in load_file(run.export_path).items()}
    model = GPT(run.learner.model.config).eval()
    model.load_state_dict(weights)
    features, mask = left_padded(*generator.captions(["a red bus"], torch.device("cpu")))
    ids = Decoder(model).read_and_generate(features, mask, torch.tensor([3]), replace(generator.how, guidance=2.0))
    assert torch.equal(picture, lactok.load("toy").decode(ids))
    with pytest.raises(SystemExit, match="0"):
        generate(["a red bus", "--generator", f"{name}@guidance=2", "--seed", "3", "--out", str(tmp_path / "a.png")])
    with Image.open(tmp_path / "a.png") as image:
        pixels = torch.tensor([*image.tobytes()]).view(32, 32, 3).permute(2, 0, 1)
    assert torch.equal(pixels, (picture[0] * 255).round().long())


@torch.no_grad()
def test_any_number_of_ids() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(32, 2, 4, 48, 64, 16, 8, 12)).eval()  # twelve ids are no square
    assert model.table.shape == (20, 4, 2)
    assert torch.equal(model.table, GPT(GPTConfig(32, 2, 4, 48, 64, 16, 8, 16)).table[:20])
    features, mask = torch.randn(2, 8, 16), torch.ones(2, 8)
    ids = Decoder(model).read_and_generate(features, mask, torch.tensor([1, 2]), Sampling(1.0, 1.0, 0))
    logits = model(features, ids[:, :-1], visible(mask, model.config, 2))[:, 7:]
    loss = model.loss(features, ids, visible(mask, model.config, 2))
    assert float(F.cross_entropy(logits.flatten(0, 1), ids.flatten())) == pytest.approx(float(loss))


def test_starts_from_weights(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    first = trainer(pair_recipe, tmp_path / "first")
    first.run()
    started = GeneratorLearner(changed(pair_recipe, start=str(first.export_path), model=None, seed=1))
    for name, tensor in load_file(first.export_path).items():
        assert torch.equal(started.model.state_dict()[name], tensor.float()), name
    wrapped = {f"model.{k}": v for k, v in load_file(first.export_path).items()}
    save_file(wrapped, tmp_path / "wrapped.safetensors")
    again = GeneratorLearner(changed(pair_recipe, start=str(tmp_path / "wrapped.safetensors")))
    assert torch.equal(again.model.output.weight, started.model.output.weight)


def test_mistakes(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    first = trainer(pair_recipe, tmp_path / "first")
    first.run()
    start = str(first.export_path)
    with pytest.raises(UserError, match="unknown tokenizer 'toys', did you mean 'toy'"):
        GeneratorLearner(changed(pair_recipe, tokenizer="toys"))
    with pytest.raises(UserError, match="tokenizer = 'resize-8' has no ids to predict"):
        GeneratorLearner(changed(pair_recipe, tokenizer="resize-8"))
    with pytest.raises(UserError, match=r"predicts 64 codes, and tokenizer llamagen-vq16-tiny has 4,096"):
        GeneratorLearner(changed(pair_recipe, tokenizer="llamagen-vq16-tiny", start=start))
    with pytest.raises(UserError, match=r"start: .* holds no transformer from captions to ids .* is it a tokenizer's"):
        GeneratorLearner(changed(pair_recipe, start="llamagen-vq16-tiny"))
    with pytest.raises(UserError, match=r"takes text features of width 16, and those of flan-t5-small have 512"):
        GeneratorLearner(changed(pair_recipe, start=start, text="flan-t5-small"))
    with pytest.raises(UserError, match=r"1 wrong shape|wrong shape"):
        GeneratorLearner(changed(pair_recipe, start=start, model=replace(SHAPE, hidden=52)))
    with pytest.raises(UserError, match=r"start: .* does not exist; train it first"):
        GeneratorLearner(changed(pair_recipe, start="nowhere.safetensors"))
    with pytest.raises(UserError, match=r"give \[model\], the transformer's shape, or `start`"):
        changed(pair_recipe, model=None)
    with pytest.raises(UserError, match="variants = 0"):
        changed(pair_recipe, variants=0)
    with pytest.raises(UserError, match=r"width = 30: heads = 4 times a multiple of 4"):
        replace(SHAPE, width=30)
    with pytest.raises(UserError, match="suite_every is for trainings of a tokenizer"):
        trainer(changed(pair_recipe, suite_every=1), tmp_path / "x")
    with pytest.raises(UserError, match="does not divide"):
        trainer(changed(pair_recipe, accumulate=3), tmp_path / "x")
    with pytest.raises(UserError, match="belongs to another recipe"):
        trainer(changed(pair_recipe, caption_dropout=0.2), tmp_path / "first")
    Path(pair_recipe.data, "000.txt").write_text("a green bus")
    with pytest.raises(UserError, match="was trained on other pictures, captions or ids than"):
        trainer(pair_recipe, tmp_path / "first")
    with pytest.raises(UserError, match="no such file of weights"):
        trained(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"is not what `lactok.train generator` writes"):
        trained(registry.resolve_assets("llamagen-vq16-tiny")["llamagen-vq16-tiny"].path)


def test_a_mistake_on_the_command_line_is_one_line(
    pair_recipe: GeneratorRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in Path(pair_recipe.data).glob("*.txt"):
        path.unlink()
    recipe = str(CONFIGS / "generator-tiny.toml")
    settings = ["--set", f"text={pair_recipe.text}", "--set", "tokenizer=toy", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as done:
        main(["generator", "--config", recipe, "--data", pair_recipe.data, *settings])
    assert done.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: none of the 12 pictures")
    assert err.count("\n") == 1


def test_shipped_recipes() -> None:
    full = config.read(CONFIGS / "lactokgen.toml", GeneratorRecipe)
    assert (full.peak_lr, full.betas, full.batch, full.steps) == (1e-4, (0.9, 0.99), 320, 20_000)
    assert (full.start, full.tokenizer, full.text) == ("llamagen-t2i-256", "lactok-t", "flan-t5-xl")
    assert full.learning_rate(0) == full.learning_rate(19_999) == 1e-4
    assert full.model is None  # LlamaGen's own, which is the default
    assert full.gpt_config(GeneratorShape(), text_encoder(full.text).width) == GPTConfig()
    small = config.read(CONFIGS / "generator-tiny.toml", GeneratorRecipe)
    assert small.model is not None
    made = small.gpt_config(small.model, text_encoder(small.text).width)
    with torch.device("meta"):
        assert sum(p.numel() for p in GPT(made).parameters()) < 10e6


def steps_of(recipe: GeneratorRecipe, out: Path) -> dict[str, Any]:
    """Train a few steps; see `test_processes.train_steps`."""
    from test_processes import train_steps

    run = trainer(recipe, out)
    run.learner.train()
    found = train_steps(run)
    computed, evaluated = [], run.learner._evaluated
    run.learner._evaluated = lambda places: computed.append(len(places)) or evaluated(places)
    with run.evaluating(), unsharded(run.learner):
        values, _ = run.learner.evaluate(())
    return found | {"held out": values, "evaluated": computed}


def train_by_two(rank: int, recipes: dict[str, Any], folder: Path) -> None:
    """Store what `steps_of` returns on this process, with replicated and with sharded weights."""
    import conftest  # noqa: F401 (registers the tokenizer)

    learner.EVALUATED = 2
    for name, recipe in recipes.items():
        torch.save(steps_of(recipe, folder / name), folder / f"{name} {rank}.pt")


@pytest.mark.slow
def test_two_processes_do_what_one_does(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    from test_processes import assert_close, run_on_two_processes

    # a slow start, because Adam's first steps have full size even for gradients that are rounding errors of zero
    slow = changed(pair_recipe, warmup=100, batch=4, caption_dropout=0.5, dropout=0.1, variants=2, held_out=5)
    recipes = {"replicated": slow, "sharded": changed(slow, fsdp=True, checkpointing=True)}
    run_on_two_processes(train_by_two, recipes, tmp_path)  # type: ignore[arg-type]
    one = steps_of(slow, tmp_path / "one")
    for name in recipes:
        for rank in (0, 1):
            two = torch.load(tmp_path / f"{name} {rank}.pt", weights_only=True)
            for mine, theirs in zip(two["values"], one["values"], strict=True):
                assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-5), name
            for mine, theirs in zip(two["gradients"], one["gradients"], strict=True):
                assert_close(mine, theirs, f"{name}, gradients")
            assert_close(two["learned"], one["learned"], name)
            assert two["held out"] == pytest.approx(one["held out"], rel=1e-4, abs=1e-4), name
            assert two["evaluated"] == [2, 1]
