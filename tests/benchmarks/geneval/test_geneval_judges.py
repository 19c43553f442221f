"""Mask2Former and CLIP without their weights: names, shapes, arithmetic before and after the network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.geneval import colours, mask2former, mask2former_names
from benchmarks.geneval.detectors import COLOURS, Detection, find
from lactok import weights
from lactok.errors import UserError

DEPTHS, WIDTH, HEADS = (2, 2, 18, 2), 96, (3, 6, 12, 24)


def mmdet_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of mmdetection 2.x's Mask2Former with Swin-S and 80 classes, written from its classes."""

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (outputs, inputs)
        if bias:
            yield f"{name}.bias", (outputs,)

    def norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (size,)
        yield f"{name}.bias", (size,)

    yield "backbone.patch_embed.projection.weight", (WIDTH, 3, 4, 4)
    yield "backbone.patch_embed.projection.bias", (WIDTH,)
    yield from norm("backbone.patch_embed.norm", WIDTH)
    for s, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        size = WIDTH * 2**s
        for b in range(depth):
            block = f"backbone.stages.{s}.blocks.{b}"
            yield from norm(f"{block}.norm1", size)
            yield f"{block}.attn.w_msa.relative_position_bias_table", (169, heads)
            yield f"{block}.attn.w_msa.relative_position_index", (49, 49)
            yield from linear(f"{block}.attn.w_msa.qkv", 3 * size, size)
            yield from linear(f"{block}.attn.w_msa.proj", size, size)
            yield from norm(f"{block}.norm2", size)
            yield from linear(f"{block}.ffn.layers.0.0", 4 * size, size)
            yield from linear(f"{block}.ffn.layers.1", size, 4 * size)
        if s < 3:
            yield from norm(f"backbone.stages.{s}.downsample.norm", 4 * size)
            yield from linear(f"backbone.stages.{s}.downsample.reduction", 2 * size, 4 * size, bias=False)
        yield from norm(f"backbone.norm{s}", size)
    pixel = "panoptic_head.pixel_decoder"
    for i in range(3):
        yield f"{pixel}.input_convs.{i}.conv.weight", (256, WIDTH * 2 ** (3 - i), 1, 1)
        yield f"{pixel}.input_convs.{i}.conv.bias", (256,)
        yield from norm(f"{pixel}.input_convs.{i}.gn", 256)
    for i in range(6):
        layer = f"{pixel}.encoder.layers.{i}"
        for part, size in (("sampling_offsets", 192), ("attention_weights", 96), ("value_proj", 256)):
            yield from linear(f"{layer}.attentions.0.{part}", size, 256)
        yield from linear(f"{layer}.attentions.0.output_proj", 256, 256)
        yield from linear(f"{layer}.ffns.0.layers.0.0", 1024, 256)
        yield from linear(f"{layer}.ffns.0.layers.1", 256, 1024)
        yield from norm(f"{layer}.norms.0", 256)
        yield from norm(f"{layer}.norms.1", 256)
    yield f"{pixel}.level_encoding.weight", (3, 256)
    for part, shape in (("lateral", (256, WIDTH, 1, 1)), ("output", (256, 256, 3, 3))):
        yield f"{pixel}.{part}_convs.0.conv.weight", shape
        yield from norm(f"{pixel}.{part}_convs.0.gn", 256)
    yield f"{pixel}.mask_feature.weight", (256, 256, 1, 1)
    yield f"{pixel}.mask_feature.bias", (256,)
    for i in range(9):
        layer = f"panoptic_head.transformer_decoder.layers.{i}"
        for a in range(2):
            yield f"{layer}.attentions.{a}.attn.in_proj_weight", (768, 256)
            yield f"{layer}.attentions.{a}.attn.in_proj_bias", (768,)
            yield from linear(f"{layer}.attentions.{a}.attn.out_proj", 256, 256)
        yield from linear(f"{layer}.ffns.0.layers.0.0", 2048, 256)
        yield from linear(f"{layer}.ffns.0.layers.1", 256, 2048)
        for n in range(3):
            yield from norm(f"{layer}.norms.{n}", 256)
    yield from norm("panoptic_head.transformer_decoder.post_norm", 256)
    for name in ("query_embed", "query_feat"):
        yield f"panoptic_head.{name}.weight", (100, 256)
    yield "panoptic_head.level_embed.weight", (3, 256)
    yield from linear("panoptic_head.cls_embed", 81, 256)
    for i in (0, 2, 4):
        yield from linear(f"panoptic_head.mask_embed.{i}", 256, 256)


def filled(shapes: Iterator[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    """Each tensor full of a number of its own (one element of memory), so that where it went can be seen."""
    return {f"state_dict.{name}": torch.tensor(float(i)).expand(shape) for i, (name, shape) in enumerate(shapes)}


def number(tensor: Tensor) -> float:
    """The number that fills a tensor."""
    low, high = tensor.aminmax()
    assert low == high
    return low.item()


def test_conversion_is_total() -> None:
    """Every parameter of the network is filled, each stored tensor is used once, but for the named constants."""
    stored = filled(mmdet_shapes())
    model = mask2former.load_network(mask2former_names.convert(stored), "a test")
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    constants = {number(v) for k, v in stored.items() if "relative_position_index" in k}
    arrived = {number(p) for p in model.parameters()}
    assert {number(v) for v in stored.values()} - arrived == constants
    size = sum(p.numel() for n, p in model.named_parameters() if "swin.layernorm." not in n)
    assert size == sum(v.numel() for k, v in stored.items() if "relative_position_index" not in k)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("swin.encoder.layers.2.blocks.17.attention.k_proj.bias", "stages.2.blocks.17.attn.w_msa.qkv.bias"),
        ("hidden_states_norms.stage3.weight", "backbone.norm2.weight"),
        ("decoder.input_projections.0.0.weight", "input_convs.0.conv.weight"),
        ("transformer_module.decoder.layers.8.cross_attn.in_proj_weight", "layers.8.attentions.0.attn.in_proj_w"),
        ("transformer_module.decoder.layers.8.self_attn.v_proj.weight", "layers.8.attentions.1.attn.in_proj_w"),
        ("transformer_module.decoder.layers.0.cross_attn_layer_norm.weight", "transformer_decoder.layers.0.norms.0.w"),
        ("transformer_module.decoder.layers.0.self_attn_layer_norm.weight", "transformer_decoder.layers.0.norms.1.w"),
        ("transformer_module.queries_features.weight", "query_feat.weight"),
        ("transformer_module.queries_embedder.weight", "query_embed.weight"),
        ("mask_predictor.mask_embedder.1.0.weight", "mask_embed.2.weight"),
    ],
)
def test_where_tensors_go(ours: str, theirs: str) -> None:
    stored = filled(mmdet_shapes())
    (value,) = (v for k, v in stored.items() if theirs in k)
    (tensor,) = (v for k, v in mask2former_names.convert(stored).items() if k.endswith(ours))
    assert number(tensor) == number(value)


def test_the_names_of_3_x_mean_the_same() -> None:
    stored = filled(mmdet_shapes())
    renamed = {}
    for name, tensor in stored.items():
        if "transformer_decoder" in name:
            name = name.replace("attentions.0.", "cross_attn.").replace("attentions.1.", "self_attn.")
        if "panoptic_head" in name:
            name = name.replace("attentions.0.", "self_attn.").replace("ffns.0.", "ffn.")
        renamed[name.removeprefix("state_dict.")] = tensor
    first, second = mask2former_names.convert(stored), mask2former_names.convert(renamed)
    assert first.keys() == second.keys()
    assert all(number(first[k]) == number(second[k]) for k in first)


def test_older_names_of_transformers_mean_the_same() -> None:
    own = {k: v for k, v in mask2former.network().state_dict().items() if "swin.layernorm" not in k}
    renames = {
        "encoder.swin.": "encoder.",
        "attention.q_proj": "attention.self.query",
        "attention.k_proj": "attention.self.key",
        "attention.v_proj": "attention.self.value",
        "attention.o_proj": "attention.output.dense",
        "attention.relative_position_bias.": "attention.self.",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    older = {}
    for name, tensor in own.items():
        for new, old in renames.items() if "pixel_level_module.encoder" in name else ():
            name = name.replace(new, old)
        older[name] = tensor
    assert older.keys() != own.keys()
    assert mask2former_names.convert(older).keys() - own.keys() == {
        f"model.pixel_level_module.encoder.swin.layernorm.{part}" for part in ("weight", "bias")
    }
    assert own.keys() - mask2former_names.convert(older).keys() == {"criterion.empty_weight"}


def test_an_unknown_tensor_is_named() -> None:
    with pytest.raises(UserError, match=r"backbone\.stem\.weight is not a tensor of mmdetection's Mask2Former"):
        mask2former_names.convert({"backbone.stem.weight": torch.zeros(1)})


def test_patch_merging_is_mmdetections() -> None:
    """Unfold, norm, reduce, against transformers' own class with converted weights."""
    from transformers.models.swin.modeling_swin import SwinPatchMerging

    torch.manual_seed(0)
    merging, size = SwinPatchMerging(dim=6), (7, 10)
    stored = {
        "backbone.stages.0.downsample.norm.weight": torch.randn(24),
        "backbone.stages.0.downsample.norm.bias": torch.randn(24),
        "backbone.stages.0.downsample.reduction.weight": torch.randn(12, 24),
    }
    converted = mask2former_names.convert(stored)
    merging.load_state_dict({k.partition("downsample.")[2]: v for k, v in converted.items()})
    x = torch.randn(2, size[0] * size[1], 6)
    image = nn.functional.pad(x.transpose(1, 2).unflatten(2, size), (0, 0, 0, 1))
    columns = nn.functional.unfold(image, 2, stride=2).transpose(1, 2)
    norm, bias, reduction = stored.values()
    expected = nn.functional.layer_norm(columns, (24,), norm, bias) @ reduction.T
    torch.testing.assert_close(merging(x, size), expected)


def test_window_positions_are_mmdetections() -> None:
    """mmdetection builds the index from two steps and a flip; the network's own index must be the same."""
    steps = (torch.arange(7)[:, None] * 13 + torch.arange(7)).flatten()
    index = (steps[:, None] + steps[None]).flip(1)
    model = mask2former.load_network(mask2former_names.convert(filled(mmdet_shapes())), "a test")
    found = [m.relative_position_index for m in model.modules() if hasattr(m, "relative_position_index")]
    assert len(found) == sum(DEPTHS)
    assert all(torch.equal(own.view(49, 49), index) for own in found)


def test_preprocessing() -> None:
    image = np.full((30, 60, 3), (10, 20, 30), np.uint8)
    pixels, size = mask2former.preprocess(image)
    assert size == (667, 1333)
    assert pixels.shape == (3, 672, 1344)
    expected = [(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375]
    np.testing.assert_allclose(pixels[:, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        pixels[:, 671, 0], [(128 - m) / s for m, s in zip(mask2former.MEAN, mask2former.STD, strict=True)], rtol=1e-5
    )


SIZES = [((64, 64), (100, 100)), ((50, 40), (37, 29)), ((12, 31), (80, 203)), ((1, 5), (3, 9)), ((200, 90), (100, 45))]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_resizing_is_bilinear(before: tuple[int, int], after: tuple[int, int]) -> None:
    """Within a level of exact arithmetic."""
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    made = mask2former.resize_bilinear(image, *after)
    plane = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    exact = nn.functional.interpolate(plane, after, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    assert (torch.from_numpy(made.astype(np.float64)) - exact).abs().max() <= 1


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_resizing_is_opencvs(before: tuple[int, int], after: tuple[int, int]) -> None:
    """To the bit."""
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    made = mask2former.resize_bilinear(image, *after)
    assert np.array_equal(made, cv2.resize(image, after[::-1], interpolation=cv2.INTER_LINEAR))


@pytest.mark.slow
def test_the_network_runs_on_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded small weights through the whole detector: boxes are tight around masks, scores fall."""
    torch.manual_seed(0)
    stored = {k: 0.05 * torch.randn(v.shape) for k, v in filled(mmdet_shapes()).items()}
    monkeypatch.setattr(weights, "load", lambda asset: asset.converted(stored))
    detector = find("detector", "mask2former-mmdet")()
    rng = np.random.default_rng(0)
    found = detector.detect(Image.fromarray(rng.integers(0, 256, (20, 400, 3), dtype=np.uint8)))
    assert len(found) == 100
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for detection in found:
        assert detection.name in detector.spec.vocabulary
        assert detection.mask is not None
        assert detection.mask.shape == (20, 400)
        rows, columns = np.nonzero(detection.mask)
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        assert detection.box == tuple(map(float, tight))


# CLIP


def test_directions_average_normalised_sentences() -> None:
    embeddings = torch.tensor([[[3.0, 0.0], [0.0, 5.0]]])
    torch.testing.assert_close(colours.directions(embeddings), torch.full((1, 2), 0.5**0.5))


def test_a_box_without_area_is_a_pixel() -> None:
    (crop,) = colours.crops(Image.new("RGB", (8, 8)), [Detection("cat", 0.9, (3.2, 3.2, 3.4, 3.4))])
    assert crop.size == (1, 1)


def test_clip_classifies_with_its_own_tokens_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small seeded CLIP of the same classes: the answer is that of its parts put together here."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel

    from lactok.metrics.rewards import preprocess
    from lactok.nn import clip

    words = ["<start>", "<unk>", "a", "photo", "of", "cat", "-", "colored", "object", *COLOURS]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)} | {"<|endoftext|>": 49407}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<start> $A <|endoftext|>", special_tokens=[("<start>", 0), ("<|endoftext|>", 49407)]
    )
    text = {"hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision = text | {"patch_size": 32}
    tower = clip.Tower(16, 8, 1, 2)
    monkeypatch.setattr(clip, "VIT_L_14", clip.Shape(tower, tower, 768, 32, "quick_gelu"))
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)).eval()
    stored = torch.frombuffer(bytearray(tokenizer.to_str().encode()), dtype=torch.uint8)
    monkeypatch.setattr(
        weights, "load", lambda asset: {"json": stored} if "token" in asset.name else model.state_dict()
    )
    classifier = find("colour", "clip-vit-l-14")()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    detections = [Detection("cat", 0.9, (5.0 * i, 0.0, 5.0 * i + 20 + i, 60.0)) for i in range(5)]
    answers = classifier.classify(image, detections)

    sentences = [s for group in colours.texts("cat") for s in group]
    ids = torch.tensor([e + [0] * (77 - len(e)) for e in (tokenizer.encode(s).ids for s in sentences)])
    with torch.inference_mode():
        embedded = nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)
        means = embedded.view(10, 3, 768).mean(1)
        means = means / means.norm(dim=-1, keepdim=True)
        pixels = torch.stack([preprocess.openai(crop) for crop in colours.crops(image, detections)])
        features = model.get_image_features(pixel_values=pixels).pooler_output
    assert pixels.shape == (5, 3, 224, 224)
    assert answers == [COLOURS[i] for i in (features @ means.T).argmax(1).tolist()]
