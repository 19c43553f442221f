"""The shared trainer with the VAE's, the diffusion model's, the accelerators' and LaCTok's learners, very small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from recipes import LEARNERS, VAE, assert_resumes, trainer
from safetensors.torch import load_file

from lactok import config
from lactok.errors import UserError
from lactok.nn import inception, samplers
from lactok.training import checkpoint, validation
from lactok.training.__main__ import parser
from lactok.training.data import crops
from lactok.training.feature_cache import FeatureCache
from lactok.training.lactok import SAMPLER_STEPS, LaCTokLearner, LaCTokRecipe
from lactok.training.ldm import LDMLearner, LDMRecipe, VAEPart, noise_loss
from lactok.training.learner import Learner
from lactok.training.recipe import Recipe
from lactok.training.vae import VAERecipe
from lactok.training.windows import random_windows

pytestmark = pytest.mark.slow  # trainings

CONFIGS = Path(validation.__file__).parent / "configs"


@pytest.mark.parametrize(("kind", "variants"), [*((kind, 0) for kind in LEARNERS), ("ldm", 1), ("stage 2", 1)])
def test_killed_and_resumed_is_bit_for_bit(
    recipes: dict[str, Recipe], photographs: Path, tmp_path: Path, kind: str, variants: int
) -> None:
    for path in sorted(photographs.iterdir())[5:]:  # few, so that they come again
        path.unlink()
    recipe = replace(recipes[kind], variants=variants)
    assert_resumes(tmp_path, lambda out: trainer(recipe, kind, out))


@pytest.mark.parametrize(
    ("kind", "learns"),
    [
        ("vae", ("vae.",)),
        ("ldm", ("unet.",)),
        ("tlcm", ("model.unet.",)),
        ("stage 1", ("model.decoder.controlnet.",)),
        ("stage 2", ("model.decoder.controlnet.",)),
        ("plain", ("model.decoder.", "model.post_quant_conv.")),
    ],
)
def test_only_what_should_learn_changes(
    recipes: dict[str, Recipe], tmp_path: Path, kind: str, learns: tuple[str, ...]
) -> None:
    recipe = replace(recipes[kind], weight_decay=0.5)
    run = trainer(recipe, kind, tmp_path / "out")
    assert all(name.startswith(learns) for name in run.learned)
    if kind == "tlcm":
        assert all(".lora_" in name for name in run.learned)
    before = {k: v.detach().clone() for k, v in run.learner.state_dict().items()}
    run.learner.train()
    for _ in range(2):
        run.train_step()
    changed = {k for k, v in run.learner.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert changed <= run.learned.keys()


@pytest.mark.parametrize("kind", ["vae", "tlcm", "stage 2"])
def test_the_averaged_weights_are_exported(recipes: dict[str, Recipe], tmp_path: Path, kind: str) -> None:
    """On a CPU the file held the weights of the last step: they had changed places again when it was written."""
    run = trainer(replace(recipes[kind], average=0.9), kind, tmp_path / "out")
    for _ in range(2):
        run.train_step()
    with run.averaged():
        expected = {name: tensor.clone() for name, tensor in run.learner.exported().items()}
    now = run.learner.exported()
    assert any(not torch.equal(now[name].half(), tensor.half()) for name, tensor in expected.items())
    run.evaluate()
    found = load_file(run.export_path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in expected.items())


def test_accumulated_parts_give_the_same_step(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    whole, parts = (trainer(replace(recipes["ldm"], accumulate=n), "ldm", tmp_path / str(n)) for n in (1, 2))
    values = [run.train_step() for run in (whole, parts)]
    assert values[0]["loss"] == pytest.approx(values[1]["loss"], rel=1e-5)
    for name, parameter in whole.learned.items():  # not the weights: Adam's first step is little but a sign
        torch.testing.assert_close(parts.learned[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    run = trainer(recipes["ldm"], "ldm", tmp_path / "out")
    run.train_step()
    run.save()
    kept = run.state_path.read_bytes()
    with torch.no_grad():
        next(iter(run.learned.values())).fill_(torch.nan)
    with pytest.raises(UserError, match=r"the loss is nan at step 1; stopped, the last good checkpoint is"):
        run.train_step()
    assert run.state_path.read_bytes() == kept


def test_broken_images_are_named_and_replaced(recipes: dict[str, Recipe], photographs: Path, tmp_path: Path) -> None:
    for i in range(0, 70, 2):
        (photographs / f"{i:03}.png").write_bytes(b"not a picture")
    recipe = replace(recipes["ldm"], batch=40, held_out=0)
    run = trainer(recipe, "ldm", tmp_path / "out")
    run.train_step()
    named = (tmp_path / "out" / "broken.txt").read_text().splitlines()
    assert named
    assert len(named) == len(set(named))
    assert all(Path(p).read_bytes() == b"not a picture" for p in named)


def test_crops_come_again_and_frozen_networks_are_asked_once(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    photos = trainer(recipes["ldm"], "ldm", tmp_path).photos
    epochs = [
        crops(photos, range(i * n, i * n + n), 32, (32, 48), 0, tmp_path, 2)
        for n in [len(photos.train)]
        for i in range(4)
    ]
    pictures = [{picture.numpy().tobytes() for picture in epoch} for epoch in epochs]
    assert pictures[0] == pictures[2] != pictures[1] == pictures[3]
    asked: list[int] = []

    def compute(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return images.mean((2, 3)) if not torch.is_grad_enabled() else torch.empty(0)

    plain, keeping = FeatureCache(compute, keep=False), FeatureCache(compute, keep=True)
    expected = plain(epochs[0])
    for _ in range(2):
        torch.testing.assert_close(keeping(epochs[0]), expected)
    assert asked == [len(photos.train), *[1] * len(photos.train)]


def test_weights_of_times_stand_for_the_error_of_clean_latents() -> None:
    t, draw = torch.tensor([100, 800, 999]), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    wrong, clean = draw + 0.1, torch.ones_like(draw)
    noised = samplers.add_noise(clean, draw, t)
    errors = (samplers.predicted_clean(noised, wrong, t) - clean).square().mean((1, 2, 3))
    assert float(noise_loss(wrong, draw, t, 1e6)) == pytest.approx(float(errors.mean()), rel=1e-3)
    assert float(noise_loss(wrong, draw, t, 1.0)) == pytest.approx((0.01 * 2 + float(errors[0])) / 3, rel=1e-3)
    assert float(noise_loss(wrong, draw, t)) == pytest.approx(0.01, rel=1e-3)


class Kept:
    """Bytes that autograd keeps for the backward pass, each tensor once; weights are there anyway."""

    def __init__(self, learner: Learner):
        self.weights = {p.untyped_storage().data_ptr() for p in learner.state_dict().values()}
        self.storages: dict[int, int] = {}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def size(self) -> int:
        return sum(self.storages.values())


@pytest.mark.parametrize("kind", ["vae", "ldm", "stage 1", "stage 2"])
def test_checkpointing_keeps_less_and_gives_the_same_gradients(
    recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    images, seeds = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.tensor([3, 4])
    recomputed: set[str] = set()
    checkpoint = torch.utils.checkpoint.checkpoint
    names: dict[int, str] = {}

    def counted(function: Any, *args: Any, **kwargs: Any) -> Any:
        recomputed.add(names[id(getattr(function, "__self__", function))])
        return checkpoint(function, *args, **kwargs)

    monkeypatch.setattr("torch.utils.checkpoint.checkpoint", counted)
    found = []
    for checkpointing in (False, True):
        learner = LEARNERS[kind](replace(recipes[kind], checkpointing=checkpointing))  # type: ignore[call-arg]
        names |= {id(module): name for name, module in learner.named_modules()}
        learner.train()
        with torch.random.fork_rng(), torch.no_grad():  # zero convolutions would hide what comes before them
            torch.manual_seed(1)
            for parameter in learner.learned().values():
                parameter.add_(0.05 * torch.randn_like(parameter))
        kept = Kept(learner)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda t: t):
            loss, _ = learner(images, seeds, 0)
        loss.backward()
        gradients = {k: p.grad for k, p in learner.learned().items() if p.grad is not None}
        found.append((loss.detach(), gradients, kept.size))
        assert bool(recomputed) == checkpointing
    (loss, gradients, size), (again, others, less) = found
    assert float(again) == pytest.approx(float(loss), rel=1e-6)
    assert others.keys() == gradients.keys()
    largest = max(g.abs().max() for g in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-6 * float(largest), rtol=0, msg=name)
    assert less < 0.8 * size
    parts = {
        "vae": {"vae.encoder.", "vae.decoder."},
        "ldm": {"unet."},
        "stage 1": {"model.decoder.unet.", "model.decoder.controlnet."},
        "stage 2": {"model.decoder.unet.", "model.decoder.controlnet.", "model.vae.decoder."},
    }[kind]
    for part in parts:  # frozen ones are in eval mode and recompute none the less
        assert any(name.startswith(part) for name in recomputed), part


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]


def test_the_suite_scores_held_out_pictures(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    recipe = replace(recipes["stage 1"], suite_every=2, suite_metrics="psnr,ssim", eval_every=2)
    out = tmp_path / "out"
    trainer(recipe, "stage 1", out).run()
    rows = {row["step"]: row for row in curve(out) if "suite_psnr" in row}
    quick = {row["step"]: row["held_out_psnr"] for row in curve(out) if "held_out_psnr" in row}
    assert rows.keys() == quick.keys() == {1, 3}
    for step, row in rows.items():
        assert row["suite_psnr"] == pytest.approx(quick[step], abs=0.1)  # but for rounding to eight bits
        assert 0 < row["suite_ssim"] < 1
        assert row.keys() == {"step", "suite_psnr", "suite_ssim"}
    references = sorted(p.name for p in (out / "suite" / "reference").iterdir())
    assert len(references) == 2
    assert references == sorted(p.name for p in (out / "suite" / "step-4").iterdir())
    result = json.loads(next((out / "suite" / "runs").glob("images-step-4-*/result.json")).read_text())
    assert result["tokenizer"]["bits"] == 256 * 6  # 64 codes


def test_the_suite_leaves_the_training_as_it_was(
    recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipes["stage 1"], steps=2, suite_every=1, suite_metrics="psnr,lpips_alex,rfid")
    trainer(replace(recipe, suite_every=0), "stage 1", tmp_path / "without").run()
    run = trainer(recipe, "stage 1", tmp_path / "with")
    run.run()
    assert (tmp_path / "without" / "state.safetensors").read_bytes() == run.state_path.read_bytes()
    inception._loaded.cache_clear()  # building a network draws random numbers
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)  # torchmetrics would ask the others
    bits, cpu = run.learner.bits, torch.device("cpu")
    metrics = "rfid,kid,torchmetrics:PeakSignalNoiseRatio"
    found = validation.score(run.out / "suite", 2, recipe.crop, bits, metrics, cpu)
    assert found.keys() == {"rfid", "kid", "torchmetrics:PeakSignalNoiseRatio"}
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_suite_that_cannot_run_says_why(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ldm: suite_every is for trainings of a tokenizer"):
        trainer(replace(recipes["ldm"], suite_every=2), "ldm", tmp_path / "x")
    run = trainer(replace(recipes["stage 1"], suite_every=2, suite_metrics="pnsr"), "stage 1", tmp_path / "y")
    with pytest.raises(UserError, match=r"could not score .*unknown metric 'pnsr', did you mean 'psnr'.*suite_every=0"):
        run.run_suite()


def test_tensorboard_holds_the_curve_and_the_pictures(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as events

    recipe = replace(recipes["ldm"], steps=2, eval_every=2)
    trainer(recipe, "ldm", tmp_path).run()
    board = events.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    written = {name: {e.step - 1: e.value for e in board.Scalars(name)} for name in board.Tags()["scalars"]}
    assert written.keys() == {"train/loss", "train/norm", "train/lr", "held_out/loss"}
    for name, values in written.items():
        key = name.removeprefix("train/").replace("/", "_")
        assert values == pytest.approx({row["step"]: row[key] for row in curve(tmp_path) if key in row}, abs=1e-6)
    (image,) = board.Images("held out")
    with Image.open(tmp_path / "pictures.png") as grid:
        assert (image.step, image.width, image.height) == (2, *grid.size)


def test_mistakes(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    stage_2 = recipes["stage 2"]
    assert isinstance(stage_2, LaCTokRecipe)
    with pytest.raises(UserError, match="stage 2 needs sampler"):
        replace(stage_2, lora="")
    with pytest.raises(UserError, match="leave `lora`"):
        replace(stage_2, stage=1)
    trained = trainer(stage_2, "stage 2", tmp_path / "second")
    trained.evaluate()
    with pytest.raises(UserError, match=r"copy: .* is of stage 2; name the weights of stage 1"):
        LaCTokLearner(replace(stage_2, copy=str(trained.export_path)))
    one = tmp_path / "one.safetensors"
    checkpoint.save_state(one, load_file(stage_2.copy), {"stage": 1})
    with pytest.raises(UserError, match=r"copy: .* is of stage 1; name the weights of stage 2"):
        LaCTokLearner(replace(stage_2, copy="", start=str(one)))
    with pytest.raises(UserError, match=r"`copy` .* or `start`"):
        replace(stage_2, start=stage_2.copy)
    with pytest.raises(UserError, match="`start` is for stage 2"):
        replace(recipes["stage 1"], start="x")  # type: ignore[call-arg]
    with pytest.raises(UserError, match="window = 5: at most 4, the latents along a side"):
        LaCTokLearner(replace(stage_2, window=5))
    with pytest.raises(UserError, match="this training decodes no images"):
        replace(recipes["stage 1"], window=2)  # type: ignore[call-arg]
    first = trainer(recipes["ldm"], "ldm", tmp_path / "ldm")
    first.evaluate()
    other = replace(stage_2.vae, scaling=0.49)
    with pytest.raises(UserError, match=r"scaling = 0.5000, the recipe has 0.49; set vae.scaling = 0.5000"):
        LaCTokLearner(replace(stage_2, unet_weights=str(first.export_path), vae=other))
    vae = trainer(recipes["vae"], "vae", tmp_path / "vae")
    vae.evaluate()
    other = replace(stage_2.vae, weights=str(vae.export_path), scaling=1e-3)
    with pytest.raises(UserError, match=r"the VAE: .* is of a VAE with scaling = .*, the recipe has 0.001"):
        LaCTokLearner(replace(stage_2, vae=other))
    with pytest.raises(UserError, match="holds no LoRA; was it merged already"):
        LaCTokLearner(replace(stage_2, lora=stage_2.unet_weights))
    with pytest.raises(UserError, match="does not exist; train it first"):
        LDMLearner(replace(recipes["ldm"], vae=VAEPart(weights=str(tmp_path / "none.safetensors"), shape=VAE)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="does not divide"):
        trainer(replace(recipes["ldm"], accumulate=3), "ldm", tmp_path / "x")
    trainer(recipes["ldm"], "ldm", tmp_path / "y").save()
    with pytest.raises(UserError, match="belongs to another recipe"):
        trainer(replace(recipes["ldm"], seed=1), "ldm", tmp_path / "y")


def test_stage_2_goes_on_from_another_and_may_decode_a_part(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    stage_2 = recipes["stage 2"]
    assert isinstance(stage_2, LaCTokRecipe)
    run = trainer(stage_2, "stage 2", tmp_path / "second")
    run.learner.train()
    run.train_step()
    run.evaluate()
    begun = replace(stage_2, copy="", start=str(run.export_path), embedding=None)
    learner = LaCTokLearner(replace(begun, crop=64, scale=(64, 64), window=4))
    kept = load_file(run.export_path)
    for name, tensor in learner.model.decoder.controlnet.state_dict().items():
        torch.testing.assert_close(tensor, kept[name].float(), atol=0, rtol=0)
    # the loss is that of a square of the image, decoded by itself
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seeds = torch.tensor([1, 2])
    latents = learner.few_steps(seeds, learner.code_map(images, 32), 64, 1)
    some, pixels = random_windows(latents, images, seeds, 4)
    assert pixels.shape == (2, 3, 32, 32)
    expected, _ = learner.recipe.decoded_loss(learner.lpips, learner.model.decode_latents(some), pixels)
    loss, _ = learner.few_step_loss(images, seeds, learner.code_map(images, 32), 0)
    torch.testing.assert_close(loss, expected)


def test_stage_2_may_compare_latents_and_decode_nothing(recipes: dict[str, Recipe]) -> None:
    stage_2 = recipes["stage 2"]
    assert isinstance(stage_2, LaCTokRecipe)
    learner = LaCTokLearner(replace(stage_2, undecoded=True))
    images = torch.rand(2, 3, stage_2.crop, stage_2.crop, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seeds, codes = torch.tensor([1, 2]), learner.code_map(images, stage_2.encoder_sizes[0])
    vae = learner.model.vae
    wanted = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
    steps = SAMPLER_STEPS[stage_2.sampler]
    expected = (learner.few_steps(seeds, codes, stage_2.crop, steps) - wanted).abs().mean()
    loss, parts = learner.few_step_loss(images, seeds, codes, 0)
    torch.testing.assert_close(loss, expected)
    assert parts == {}
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learner.model.decoder.controlnet.parameters())
    with pytest.raises(UserError, match="this training decodes no images"):
        replace(stage_2, undecoded=True, window=2)
    with pytest.raises(UserError, match="undecoded is for stage 2"):
        replace(recipes["stage 1"], undecoded=True)  # type: ignore[call-arg]


def test_the_command_line_changes_a_recipe() -> None:
    args = parser().parse_args(
        ["ldm", "--config", "x", "--set", "steps=3", "--set", "vae.weights=a/b.safetensors", "--set", "vae.scaling=0.3"]
    )
    recipe = config.read(CONFIGS / "ldm-tiny.toml", LDMRecipe, config.changes(args.set))
    assert (recipe.steps, recipe.vae.weights, recipe.vae.scaling) == (3, "a/b.safetensors", 0.3)


# most others are stages of small models alone: see test_train_tiny.py
@pytest.mark.parametrize("path", ["vae-tiny.toml", *sorted(p.name for p in CONFIGS.glob("lactok-*[!y].toml"))])
def test_shipped_recipes_are_whole(path: str) -> None:
    assert config.read(CONFIGS / path, VAERecipe if path == "vae-tiny.toml" else LaCTokRecipe).name
