"""FD-DINOv2 and CMMD: conversion, loading and arithmetic with small networks of the same kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, Dinov2Config, Dinov2Model

import lactok
from lactok.errors import WeightsNotFound
from lactok.evaluation.config import Settings
from lactok.evaluation.metric_networks import with_networks
from lactok.metrics import vision_features
from lactok.metrics.cmmd import cmmd
from lactok.metrics.fd_dinov2 import fd_dinov2
from lactok.metrics.frechet import frechet
from lactok.nn import vision
from lactok.nn.vision_checkpoint import convert_clip_vision, convert_dinov2

DINO = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
CLIP = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}


def published(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under the names of the published file, which transformers renames when it loads that."""
    for new, old in (("q_proj", "attention.query"), ("k_proj", "attention.key"), ("v_proj", "attention.value")):
        tensors = {name.replace(f"attention.{new}", f"attention.{old}"): t for name, t in tensors.items()}
    return {name.replace("attention.o_proj", "attention.output.dense"): t for name, t in tensors.items()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_cache: Path) -> Path:
    """A folder with weights of small networks under the names of the published ones."""
    torch.manual_seed(0)
    dino = Dinov2Config(**DINO, image_size=518)
    monkeypatch.setattr(vision, "DINOV2_CONFIG", Dinov2Config(**DINO, image_size=224, use_mask_token=False))
    towers = CLIPVisionConfig(**CLIP, projection_dim=16, image_size=336)
    monkeypatch.setattr(vision, "CLIP_CONFIG", towers)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    whole = CLIPConfig(text_config=text, vision_config=towers.to_dict(), projection_dim=16)
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(published(Dinov2Model(dino).state_dict()), folder / "dinov2-vit-l-14.pt")
    torch.save(CLIPModel(whole).state_dict(), folder / "clip-vit-l-14-336.pt")
    return folder


def test_positions_are_resized_as_in_dinov2s_own_code() -> None:
    """Against the formula of its `interpolate_pos_encoding`, which adds 0.1 to the number of patches of a side."""
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(**DINO, image_size=518))
    tensors = model.state_dict()
    made = convert_dinov2(tensors)["embeddings.position_embeddings"]
    grid = tensors["embeddings.position_embeddings"][:, 1:].reshape(1, 37, 37, 24).permute(0, 3, 1, 2)
    scale = (224 // 14 + 0.1) / 37
    expected = torch.nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    assert expected.shape[-2:] == (16, 16)
    torch.testing.assert_close(made[0, 1:].T.reshape(1, 24, 16, 16), expected)
    torch.testing.assert_close(made[:, 0], tensors["embeddings.position_embeddings"][:, 0])


def test_dinov2_of_224_px_is_transformers_but_for_the_positions() -> None:
    torch.manual_seed(0)
    theirs = Dinov2Model(Dinov2Config(**DINO, image_size=224)).eval()
    ours = Dinov2Model(Dinov2Config(**DINO, image_size=224, use_mask_token=False)).eval()
    ours.load_state_dict(convert_dinov2(theirs.state_dict()))
    pixels = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs(pixel_values=pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(ours(pixel_values=pixels).pooler_output, expected)


def test_the_published_names_are_loaded() -> None:
    """As transformers itself loads a file with these names, by its own table of renamings."""
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(**DINO, image_size=224, use_mask_token=False)).eval()
    tensors = published(model.state_dict())
    assert "encoder.layer.0.attention.attention.query.weight" in tensors
    found = vision.as_installed(tensors, model.state_dict().keys())
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    assert vision.as_installed(model.state_dict(), tensors.keys()).keys() == tensors.keys()


def test_images_are_resized_by_pil() -> None:
    image = torch.randint(0, 256, (1, 3, 300, 500), dtype=torch.uint8)
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy())
    squashed = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
    found = vision_features.resized(image, 224)[0].permute(1, 2, 0) * 255
    np.testing.assert_array_equal(found.round().byte(), squashed)
    cropped = np.asarray(picture.crop((100, 0, 400, 300)).resize((336, 336), Image.Resampling.BICUBIC))
    found = vision_features.resized(image, 336, crop=True)[0].permute(1, 2, 0) * 255
    np.testing.assert_array_equal(found.round().byte(), cropped)


def test_cmmd_is_the_authors_formula_for_any_blocks() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(loc, size=(n, 16)) for loc, n in ((0, 60), (0.1, 50)))
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        distances = ((a[:, None] - b[None]) ** 2).sum(-1)
        return float(np.exp(-distances / (2 * 10**2)).mean())

    expected = 1000 * (kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
    assert cmmd([x], [y]) == pytest.approx(expected, rel=1e-8)
    assert cmmd(np.array_split(x, 7), np.array_split(y, 3)) == pytest.approx(expected, rel=1e-8)
    assert cmmd([x], [x]) == pytest.approx(0, abs=1e-9)
    assert fd_dinov2([x], [y]) == frechet([x], [y])


def test_a_run_with_small_networks(small: Path, tmp_path: Path) -> None:
    options = {"metrics": "fd_dinov2,cmmd", "limit": 3, "weights": small, "out": tmp_path / "out"}
    result = lactok.evaluate("resize-8", **options)
    assert result["fd_dinov2"].value > 0
    assert result["cmmd"].value > 0
    assert [network.name for network in result.data.protocol.networks] == ["clip-vit-l-14-336", "dinov2-vit-l-14"]
    equal = lactok.evaluate("identity", **options)
    assert equal["fd_dinov2"].value == pytest.approx(0, abs=1e-6)
    assert equal["cmmd"].value == pytest.approx(0, abs=1e-9)


def test_the_features_are_those_of_the_whole_models(small: Path) -> None:
    lactok.weights.use_folder(small)
    images = torch.randint(0, 256, (2, 3, 100, 100), dtype=torch.uint8)
    tensors = torch.load(small / "clip-vit-l-14-336.pt", weights_only=True)
    whole = CLIPModel(
        CLIPConfig(
            text_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1},
            vision_config=vision.CLIP_CONFIG.to_dict(),
            projection_dim=16,
        )
    ).eval()
    whole.load_state_dict(tensors)
    assert len(convert_clip_vision(tensors)) < len(tensors)
    pixels = vision_features.normalised(
        vision_features.resized(images, 336), vision_features.CLIP_MEAN, vision_features.CLIP_STD
    )
    with torch.inference_mode():
        expected = whole.visual_projection(whole.vision_model(pixel_values=pixels).pooler_output)
        found = torch.from_numpy(vision_features.clip_features(images, "cpu"))
    torch.testing.assert_close(found, expected / expected.norm(dim=-1, keepdim=True))


def test_all_metrics_are_those_that_can_be_had(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lactok import weights

    def resolve(asset: lactok.Asset) -> object:
        if asset.name in ("clip-vit-l-14-336", "dinov2-vit-l-14"):
            raise WeightsNotFound(f"weights of {asset.name} not found")
        return type("Found", (), {"sha256": "0" * 64})

    monkeypatch.setattr(weights, "resolve", resolve)
    run = with_networks(Settings(metrics="all").run(), "all")
    assert {"psnr", "dists", "rfid_patch256", "precision", "recall", "delta_e"} <= set(run.protocol.score.metrics)
    assert not {"cmmd", "fd_dinov2"} & set(run.protocol.score.metrics)
    assert "left out: cmmd: weights of clip-vit-l-14-336 not found" in caplog.text
    with pytest.raises(WeightsNotFound, match=r"^cmmd: .*; or leave it out: `metrics` psnr"):
        with_networks(Settings(metrics="psnr,cmmd").run(), "psnr,cmmd")
    both = "psnr,lpips_alex,cmmd,fd_dinov2"
    with pytest.raises(WeightsNotFound, match=r"cmmd: .*; or leave them out: `metrics` psnr,lpips_alex$"):
        with_networks(Settings(metrics=both).run(), both)
