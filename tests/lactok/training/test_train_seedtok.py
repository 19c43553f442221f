"""SeedTok's trainer, very small: three stages, their teachers, and the tokenizer that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from recipes import assert_resumes, small_keys
from safetensors.torch import load_file

from baselines.seedtok import TINY, TINY_UNCLIP, SeedTokenizer, trained_parts
from lactok import config, registry, weights
from lactok.errors import UserError
from lactok.metrics.retrieval import ranks
from lactok.nn.inception import inception, tf1_resize
from lactok.nn.inception_checkpoint import INCEPTION
from lactok.nn.lactok import VAEShape
from lactok.nn.seed import SeedConfig, clip_normalise
from lactok.nn.unclip import UnCLIPShape
from lactok.randomness import noise, seed_of
from lactok.training import checkpoint, numerics
from lactok.training.data import Photos, centre_square, to_tensor
from lactok.training.distributed import accelerator_of
from lactok.training.ldm import VAEPart
from lactok.training.seedtok import SeedTokRecipe, learner_of
from lactok.training.seedtok.decoder import RIDGE
from lactok.training.seedtok.joint import JointLearner
from lactok.training.seedtok.quantizer import mixture_weights
from lactok.training.teacher import LAYERS, SHARES, WIDTHS, Content, Teacher, inception_features
from lactok.training.trainer import Trainer

pytestmark = pytest.mark.slow  # trainings

CONFIGS = Path(numerics.__file__).parent / "configs"
MODEL = SeedConfig(
    image_size=64,
    inception=8,
    hidden=12,
    layers=2,
    intermediate=16,
    heads=2,
    queries=4,
    codebook_size=16,
    code_dim=4,
    features=6,
    depth=1,
    positions=8,
)
VIT = replace(MODEL, inception=0, patch=32, vit=(12, 1, 2), vit_ratio=2.0)
VAE = VAEShape((8, 8, 8, 8))
Stages = dict[int, SeedTokRecipe]


@pytest.fixture
def stages(photographs: Path, tmp_path: Path) -> Stages:
    """A recipe for each stage, over random weights of what it takes as given."""
    for path in sorted(photographs.iterdir())[9:]:
        path.unlink()
    torch.manual_seed(0)
    vae, first, second = (tmp_path / f"{name}.safetensors" for name in ("vae", "first", "second"))
    checkpoint.save_state(vae, AutoencoderKL(**VAE.arguments()).state_dict(), {})
    keys = small_keys(photographs, 64, variants=1, revive_every=1, revive_after=1) | {
        "model": MODEL,
        "unclip": UnCLIPShape((8, 16), (0, 1), predictor=4),
        "vae": VAEPart(weights=str(vae), scaling=0.5, shape=VAE),
        "eval_steps": 2,
        "few_steps": 2,
    }
    out: Stages = {1: SeedTokRecipe(name="first", stage=1, **keys)}
    learner = learner_of(out[1])
    learner.fit_teachers()
    checkpoint.save_state(first, learner.exported(), {"stage": 1})
    out[2] = SeedTokRecipe(name="second", stage=2, quantizer=str(first), **keys)
    decoder = learner_of(out[2])
    decoder.fit_teachers()
    checkpoint.save_state(second, decoder.exported(), {"stage": 2})
    keys |= {"plain": 1, "fade": 2, "settle": 2}
    out[3] = SeedTokRecipe(name="third", stage=3, quantizer=str(first), decoder=str(second), **keys)
    return out


def trainer(recipe: SeedTokRecipe, out: Path) -> Trainer:
    return Trainer(recipe, learner_of(recipe), out, accelerator_of("cpu"))


def pictures(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_killed_and_resumed_is_bit_for_bit(stages: Stages, tmp_path: Path, stage: int) -> None:
    recipe = stages[stage]
    assert_resumes(tmp_path, lambda out: trainer(recipe, out))


def test_what_learns_and_what_is_frozen(stages: Stages, tmp_path: Path) -> None:
    quantizer = {f"model.{name}" for name, _ in learner_of(stages[1]).model.named_children()}
    quantizer |= {"model.query_tokens", "model.pos_embed", "model.pos_embed_image"}
    decoder = {"unclip.unet", "unclip.text_encoder"}
    both = quantizer | decoder | {"unclip.predictor"}
    for stage, expected in {1: quantizer, 2: decoder, 3: both}.items():
        run = trainer(stages[stage], tmp_path / str(stage))
        run.learner.fit_teachers()
        before = {k: v.detach().clone() for k, v in run.learner.named_parameters()}
        statistics = {k: v.clone() for k, v in run.learner.inception.named_buffers()}
        run.learner.train()
        for _ in range(3):
            run.train_step()
        changed = {k for k, v in run.learner.named_parameters() if not torch.equal(v, before[k])}
        assert {".".join(name.split(".")[:2]) for name in changed} == expected
        assert changed <= run.learned.keys()
        assert not any(name.startswith("model.visual_encoder.features.") for name in changed)
        for name, value in run.learner.inception.named_buffers():
            assert torch.equal(value, statistics[name])


def test_the_visual_encoder_may_be_a_small_vit(stages: Stages, tmp_path: Path) -> None:
    run = trainer(replace(stages[1], model=VIT), tmp_path / "out")
    before = {k: v.detach().clone() for k, v in run.learner.model.visual_encoder.named_parameters()}
    run.learner.train()
    for _ in range(2):
        run.train_step()
    for name, value in run.learner.model.visual_encoder.named_parameters():
        assert not torch.equal(value, before[name]), name


def test_the_visual_encoder_starts_as_the_teacher_s_part(stages: Stages) -> None:
    learner = learner_of(stages[1]).eval()
    images = pictures()
    learner(images, torch.tensor([1, 2]), 0)
    pooled = learner.model.visual_encoder(clip_normalise(images / 2 + 0.5))[:, 0, :6]
    blank = torch.zeros(2, sum(WIDTHS))
    blank[:, -2048:] = inception_features(learner.inception, images)[:, -2048:] - learner.teacher.mean[-2048:]
    colours = images.mean((2, 3)) @ learner.model.visual_encoder.proj.weight[:6, 2048:].t()
    torch.testing.assert_close(pooled, blank @ learner.teacher.projection + colours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_loss_goes_down(stages: Stages, tmp_path: Path, stage: int) -> None:
    recipe = replace(stages[stage], plain=0, fade=0, steps=40, batch=4, peak_lr=3e-3, schedule="constant", average=0.5)
    run = trainer(recipe, tmp_path / "out")
    run.learner.train()
    losses = [run.train_step()["loss"] for _ in range(40)]
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8])


def test_stage_1_predicts_the_teacher(stages: Stages) -> None:
    learner = learner_of(stages[1])
    images = pictures()
    loss, parts = learner(images, torch.tensor([1, 2]), 0)
    ids = learner.model.encode(clip_normalise(images / 2 + 0.5))
    predicted = learner.model.image_embeds(ids)
    target = learner.teacher_embeds(images)
    torch.testing.assert_close(parts["embedding"], F.mse_loss(predicted, target))
    torch.testing.assert_close(parts["cosine"], 1 - F.cosine_similarity(predicted, target).mean())
    weighted = parts["embedding"] + parts["cosine"] + 0.1 * parts["rebuild"] + parts["codebook"]
    torch.testing.assert_close(loss, weighted)


def test_mixtures_have_the_embedding_of_their_parts(stages: Stages) -> None:
    seeds = torch.arange(40)
    mixing = mixture_weights(seeds, 0.5)
    torch.testing.assert_close(mixing.sum(1), torch.ones(40))
    alone = (mixing == torch.eye(40)).all(1)
    assert 10 < int(alone.sum()) < 30
    # about the mean of the batch a mixture deviates by the deviations of four, weighted by numbers of length 1
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    centred = mixing - 1 / 40
    rest = centred.median(1, keepdim=True).values
    weights = (centred - rest)[~alone]
    assert set((weights.abs() > 1e-6).sum(1).tolist()) == {4}
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(len(weights)))
    mean = features.mean(0)
    torch.testing.assert_close((mixing @ features)[~alone], mean + weights @ (features - mean), atol=1e-5, rtol=1e-5)

    learner = learner_of(stages[1])
    learner.fit_teachers()
    images = pictures(4)
    places = learner.model.visual_encoder.frozen_features(clip_normalise(images / 2 + 0.5))
    pooled = places.mean(1)[:, :2048] - learner.teacher.mean[-2048:]
    mixing = mixture_weights(torch.arange(4), 1.0)
    part = pooled @ learner.teacher.projection[-2048:]
    of_mixture = torch.einsum("ij,jpc->ipc", mixing, places).mean(1)[:, :2048] - learner.teacher.mean[-2048:]
    torch.testing.assert_close(of_mixture @ learner.teacher.projection[-2048:], mixing @ part, atol=1e-4, rtol=1e-4)


def test_the_teacher_is_half_whitened() -> None:
    width = Teacher(4).mean.numel()
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(50, 3, generator=generator) * torch.tensor([3.0, 2.0, 1.0])
    vectors = factors @ torch.randn(3, width, generator=generator) + 5
    teacher = Teacher(3)
    assert not teacher.fitted
    teacher.fit(vectors)
    assert teacher.fitted
    found = (vectors - teacher.mean) @ teacher.projection
    torch.testing.assert_close(found.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    assert float(found.square().mean()) == pytest.approx(1, abs=0.01)
    groups = zip((vectors - vectors.mean(0)).split(WIDTHS, 1), (*[SHARES[0]] * 5, *SHARES[1:]), strict=True)
    scales = torch.cat([part / part.square().sum(1).mean().sqrt() * share**0.5 for part, share in groups], 1)
    variances = torch.linalg.svdvals(scales)[:3] ** 2 / 50
    torch.testing.assert_close(found.square().mean(0), variances.sqrt() / variances.sqrt().mean(), rtol=1e-2, atol=0)
    with pytest.raises(UserError, match="needs more training pictures than 3"):
        teacher.fit(vectors[:3])


def test_content_is_relative_to_photographs() -> None:
    content = Content(4)
    features = torch.randn(4, sum(LAYERS["inception"]), generator=torch.Generator().manual_seed(0))
    assert not content.fitted
    content.fit(features)
    assert content.fitted
    shown, meant = features[:2] + 0.1, features[:2]
    found = content.distances(shown, meant)
    for layer, (first, second, mean) in enumerate(
        zip(*(f.split(LAYERS["inception"], -1) for f in (shown, meant, features.mean(0))), strict=True)
    ):
        expected = 1 - F.cosine_similarity(first - mean, second - mean).mean()
        torch.testing.assert_close(found[layer], expected)
    # nearly one-hot targets: the first two photographs themselves
    similar = shown[:, -2048:] @ features[:, -2048:].t() / 10
    torch.testing.assert_close(content.contrast(shown, meant, 10), F.cross_entropy(similar, torch.tensor([0, 1])))


def test_stage_2_is_the_velocity_s_error(stages: Stages) -> None:
    """By diffusers' own scheduler."""
    from diffusers import DDPMScheduler

    learner = learner_of(replace(stages[2], unconditional=0.0))
    images, seeds, unclip = pictures(), torch.tensor([1, 2]), learner.unclip
    mean, deviation = learner.moments(images).chunk(2, 1)
    latents = (mean + deviation * noise(seeds, (4, 8, 8), "posterior")) * 0.5
    learner.fit_teachers()
    draw = noise(seeds, (4, 8, 8), "noise")
    times = torch.tensor([seed_of(s, "timestep") % 1000 for s in seeds.tolist()])
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    embeds = learner.targets(images)
    latents = latents - unclip.predicted(embeds)
    labels = unclip.class_labels(embeds, noise(seeds, (6,), "embedding"))
    predicted = unclip.unet(
        scheduler.add_noise(latents, draw, times), times, unclip.prompt_embeds().expand(2, -1, -1), class_labels=labels
    ).sample
    expected = F.mse_loss(predicted, scheduler.get_velocity(latents, draw, times))
    torch.testing.assert_close(learner(images, seeds, 0)[0], expected)
    blind = learner_of(replace(stages[2], unconditional=1.0))
    other = pictures().flip(2)
    blind.moments = learner.moments
    blind.unclip.predictor = None
    seen = [float(blind.diffusion_loss(images, seeds).detach())]
    blind.targets = lambda _: learner.targets(other)  # type: ignore[assignment]
    assert float(blind.diffusion_loss(images, seeds).detach()) == seen[0]  # no embedding reaches it


def test_stage_3_compares_what_the_tokenizer_makes(stages: Stages) -> None:
    learner = learner_of(stages[3])
    images, seeds = pictures(), torch.tensor([1, 2])
    _, parts = learner(images, seeds, 3)  # all is visible
    embeds = learner.model.image_embeds(learner.model.encode(clip_normalise(images / 2 + 0.5)))
    output = learner.decode_embeds(embeds, seeds, 2)
    torch.testing.assert_close(parts["lpips"], learner.lpips(output, images).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["colour"], F.l1_loss(F.avg_pool2d(output, 8), F.avg_pool2d(images, 8)))
    torch.testing.assert_close(learner.reconstruct(images, seeds), output.clamp(-1, 1))
    shown = inception_features(learner.inception, output[learner.random_window(seeds)])
    assert learner.content is not None
    *texture, content = learner.content.distances(shown, inception_features(learner.inception, images))
    torch.testing.assert_close(parts["content"], content, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(parts["texture"], sum(texture) / len(texture), rtol=1e-3, atol=1e-3)
    assert learner.bits == 4 * 4


def test_the_predictor_is_the_ridge_regression_of_latents(stages: Stages) -> None:
    learner = learner_of(stages[2])
    learner.fit_teachers()
    squares = list(learner.training_squares(9))
    embeds = torch.cat([learner.teacher_embeds(image) for image in squares])
    latents = torch.cat([learner.moments(image)[:, :4] for image in squares]) * 0.5
    targets = F.avg_pool2d(latents, 2).flatten(1)
    # ridge as least squares: rows of the penalty beside the pictures'
    rows = torch.cat([embeds, (RIDGE * len(squares)) ** 0.5 * torch.eye(6)])
    centred = torch.cat([targets - targets.mean(0), torch.zeros(6, targets.shape[1])])
    expected = embeds @ torch.linalg.lstsq(rows, centred).solution + targets.mean(0)
    found = learner.unclip.predicted(embeds)
    torch.testing.assert_close(found, learner.unclip.grid(expected), atol=1e-4, rtol=1e-4)
    blocks = F.interpolate(expected.view(-1, 4, 4, 4), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(found, blocks, atol=1e-4, rtol=1e-4)


def test_the_regression_fades_in(stages: Stages, tmp_path: Path) -> None:
    recipe = replace(stages[3], peak_lr=0.0, regression=0.5, plain=1, fade=2)
    assert [recipe.visible(step) for step in range(4)] == [0, 0, 0.5, 1]
    run = trainer(recipe, tmp_path / "out")
    predictor, seeds = run.learner.unclip.predictor, torch.tensor([1, 2])
    assert predictor is not None
    embeds = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    whole = 0.5 * learner_of(stages[3]).regression
    assert not predictor.weight.any()
    first, second = run.learner.decode_embeds(embeds, seeds, 2, visible=0.0)
    assert torch.equal(first, second)  # one picture for all
    run.learner.train()
    for step in range(4):
        torch.testing.assert_close(predictor.weight.detach(), recipe.visible(step) * whole)
        run.train_step()
    torch.testing.assert_close(predictor.weight.detach(), whole)
    unclip = run.learner.unclip
    draw = noise(seeds, (6,), "embedding")
    alone = unclip.sample(embeds, unclip.start(seeds), draw, 2, 1.0) - unclip.predicted(embeds)
    half = unclip.decode_latents(unclip.predicted(embeds) + 0.5 * alone) * 2 - 1
    torch.testing.assert_close(run.learner.decode_embeds(embeds, seeds, 2, visible=0.5), half, atol=1e-5, rtol=1e-4)


def test_the_fixed_picture_settles_on_the_mean(stages: Stages) -> None:
    learner = learner_of(replace(stages[3], plain=0, fade=0, settle=20))
    predictor, content = learner.unclip.predictor, learner.content
    assert predictor is not None
    assert content is not None
    learner.fit_teachers()

    def far() -> float:
        with torch.no_grad():
            picture = learner.decode_embeds(torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64), 2, visible=0.0)
            return float(content.distance_to_mean(inception_features(learner.inception, picture)))

    before = far()
    learner.fit_fixed_image(predictor)
    assert far() < before
    assert predictor.weight.grad is None


def test_the_fixed_picture_settles_once(stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(JointLearner, "fit_fixed_image", lambda self, *_: calls.append(self))
    run = trainer(replace(stages[3], accumulate=2), tmp_path / "out")
    run.train_step()
    run.save()
    trainer(replace(stages[3], accumulate=2), tmp_path / "out").train_step()
    assert len(calls) == 1


def test_every_picture_starts_from_the_same_noise(stages: Stages) -> None:
    unclip, seeds = learner_of(stages[3]).unclip, torch.tensor([1, 2, 3])
    start = unclip.start(seeds)
    assert start.shape == (3, 4, 8, 8)
    assert torch.equal(start, start[:1].expand(3, -1, -1, -1))
    unclip.config = replace(unclip.config, one_start=False)  # as seedtok-2's
    assert torch.equal(unclip.start(seeds), noise(seeds, (4, 8, 8), "start"))


def test_no_stage_exports_the_published_network(stages: Stages) -> None:
    first = learner_of(stages[1])
    assert not any("visual_encoder.features" in name for name in first.exported())
    later = learner_of(stages[3]).model.visual_encoder.features
    for name, value in first.model.visual_encoder.features.state_dict().items():
        assert torch.equal(value, later.state_dict()[name])  # not rounded by a file in fp16


def test_right_is_by_fid_s_features(stages: Stages, photographs: Path) -> None:
    learner = learner_of(stages[2]).eval()
    photos = Photos.of(str(photographs), 2).train
    with torch.no_grad():
        learner.fit_teachers()
        values, _ = learner.evaluate(photos)
        images = torch.cat([to_tensor([centre_square(p.open_rgb(), 64)]) for p in photos])
        seeds = torch.tensor([seed_of("held out", p.name) for p in photos])
        net = inception("cpu")
        shown, meant = (net(tf1_resize((i + 1) * 127.5)) for i in (learner.reconstruct(images, seeds), images))
    assert values["right"] == pytest.approx(float((ranks(shown.numpy(), meant.numpy()) == 0).mean()))


@pytest.mark.parametrize("joint", [True, False])
def test_pictures_teach_the_quantizer_only_jointly(stages: Stages, joint: bool) -> None:
    learner = learner_of(replace(stages[3], joint=joint, embedding=0.0, cosine=0.0, rebuild=0.0, codebook=0.0))
    learner(pictures(), torch.tensor([1, 2]), 3)[0].backward()
    gradient = learner.model.distill_image_proj.weight.grad
    assert (gradient is not None and bool(gradient.any())) == joint
    assert any(p.grad is not None and p.grad.any() for p in learner.unclip.unet.parameters())


def test_the_tokenizer_is_what_was_trained(stages: Stages) -> None:
    learner = learner_of(stages[3]).eval()
    spec = replace(registry.tokenizer_spec("seedtok-tiny"), tokens=4, codebook_size=16, input_size=64, output_size=64)
    vae = dict(VAE.arguments()) | {"scaling_factor": 0.5}
    tokenizer = SeedTokenizer(spec, MODEL, stages[3].unclip.config(6, vae, 64), trained_parts)
    tensors = {
        "seedtok-tiny": learner.exported(),
        "vae-tiny": load_file(stages[3].vae.weights),
        "fid-inception": weights.load(INCEPTION),
    }
    tokenizer.load_assets(tensors)
    images, seeds = pictures() / 2 + 0.5, torch.tensor([1, 2])
    with torch.no_grad():
        output, _ = tokenizer.eval().reconstruct(images, seeds)
        expected = learner.reconstruct(2 * images - 1, seeds) / 2 + 0.5
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)


def test_mistakes_in_recipes_are_one_line(stages: Stages, tmp_path: Path) -> None:
    wrong: list[tuple[int, dict[str, Any], str]] = [
        (1, {"stage": 4}, "stage = 4: 1"),
        (2, {"quantizer": ""}, "stage 2 needs `quantizer`"),
        (3, {"decoder": ""}, "stage 3 also `decoder`"),
        (1, {"crop": 96, "scale": (96, 112)}, "crop = 96 must be"),
        (1, {"model": replace(VIT, patch=24)}, "a multiple of patch"),
        (1, {"model": replace(MODEL, hidden=16)}, "hidden must be a multiple of 12"),
        (3, {"few_steps": 1}, "at least 2"),
        (1, {"mixup": 0.5, "model": VIT}, "mixup is for stage 1"),
        (3, {"fsdp": True}, "fsdp does not work with"),
        (3, {"unclip": UnCLIPShape((8, 16), (0, 1))}, "plain and fade are for a decoder with"),
    ]
    for stage, change, message in wrong:
        with pytest.raises(UserError, match=message) as caught:
            replace(stages[stage], **change)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="a 0 or 1 for each"):
        UnCLIPShape((8, 16), (0,))
    with pytest.raises(UserError, match="multiples of groups"):
        UnCLIPShape((8, 12), (0, 0))
    with pytest.raises(UserError, match="does not exist; train it first"):
        learner_of(replace(stages[2], quantizer=str(tmp_path / "none.safetensors")))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_shipped_recipes_are_of_one_tokenizer(stage: int) -> None:
    recipe = config.read(CONFIGS / "seedtok" / f"seedtok-tiny-{stage}.toml", SeedTokRecipe)
    assert recipe.stage == stage
    if stage == 1:
        assert recipe.quantizer_shape() == TINY
    if stage == 2:
        assert recipe.vae is not None
        assert recipe.decoder_shape().config(TINY.features, recipe.vae.arguments(), 256) == TINY_UNCLIP
    assert recipe.eval_steps == registry.tokenizer_spec("seedtok-tiny").decode_steps or stage < 3


def test_later_stages_take_their_shapes_from_the_weights(stages: Stages, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path, recipe in ((first, stages[1]), (second, stages[2])):
        learner = learner_of(recipe)
        learner.fit_teachers()
        checkpoint.save_state(path, learner.exported(), learner.notes())
    second_stage = replace(stages[2], model=None, quantizer=str(first))
    assert learner_of(second_stage).shape == MODEL
    third = replace(stages[3], model=None, unclip=None, quantizer=str(first), decoder=str(second))
    assert (third.quantizer_shape(), third.decoder_shape()) == (MODEL, stages[2].unclip)
    assert learner_of(third).notes()["config"].keys() == {"model", "unclip"}
    with pytest.raises(UserError, match="does not say the shape of its network; state it in the recipe"):
        replace(stages[3], model=None).quantizer_shape()
