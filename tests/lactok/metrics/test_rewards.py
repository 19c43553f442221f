"""Rewards from files as they are published, against plain networks in the publishers' own layout."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photograph, plugged
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from benchmarks import published
from lactok.errors import UserError, WeightsNotFound
from lactok.metrics import rewards
from lactok.metrics.rewards import Reward, RewardSpec, clip_scores, hpsv2, image_reward, mps, preprocess
from lactok.nn import clip

TINY = clip.Shape(
    clip.Tower(32, 128, 2, 4), clip.Tower(48, 192, 2, 4), projection=24, patch=56, act="gelu", vocabulary=40
)
CAPTIONS = ["a red bus", "two cats on a table"]
PICTURES = [photograph(1, 300, 200), photograph(2, 180, 333)]


class Block(nn.Module):
    """open_clip's residual block, under its names."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=nn.GELU(), c_proj=nn.Linear(4 * width, width))
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Tower(nn.Module):
    def __init__(self, tower: clip.Tower):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(tower.width, tower.heads) for _ in range(tower.layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, shape: clip.Shape):
        super().__init__()
        width, tokens = shape.vision.width, 1 + (shape.image // shape.patch) ** 2
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Tower(shape.vision)
        self.proj = nn.Parameter(torch.randn(width, shape.projection))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """A ViT of open_clip: its names, its arithmetic."""

    def __init__(self, shape: clip.Shape):
        super().__init__()
        width = shape.text.width
        self.visual = Visual(shape)
        self.transformer = Tower(shape.text)
        self.token_embedding = nn.Embedding(shape.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(shape.positions, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, shape.projection))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))

    def text(self, ids: Tensor) -> Tensor:
        mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)
        x = self.ln_final(self.transformer(self.token_embedding(ids) + self.positional_embedding, mask))
        return x[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection


def tokenizer(start: str, end: str, pad: str, size: int = 40) -> str:
    """A `tokenizer.json` of whole words."""
    words = ["a", "red", "bus", "two", "cats", "on", "table", "photo", "depicts", "light", "color", ",", "."]
    vocabulary = {pad: 0} | {w: i for i, w in enumerate(["[UNK]", *words], 1)}
    vocabulary |= {start: size - 2, end: size - 1}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, size - 2), (end, size - 1)]
    )
    return made.to_str()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """A user's folder with tokenizers, and the published shapes made tiny."""
    place = tmp_path / "weights"
    place.mkdir()
    (place / "clip-tokenizer.json").write_text(tokenizer("<|startoftext|>", "<|endoftext|>", "!"))
    (place / "bert-base-uncased-tokenizer.json").write_text(tokenizer("[CLS]", "[SEP]", "[PAD]"))
    monkeypatch.setenv("LACTOK_WEIGHTS", str(place))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("VIT_B_32", "VIT_L_14", "VIT_H_14"):
        monkeypatch.setattr(clip, name, TINY)
    torch.manual_seed(0)
    return place


def ids_of(captions: list[str]) -> Tensor:
    return clip.texts()(captions)[0]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a, b, dim=-1)


@pytest.mark.parametrize(
    ("name", "file", "antialias"),
    [("hpsv2", "HPS_v2_compressed.pt", False), ("hpsv2.1-aa", "HPS_v2.1_compressed.pt", True)],
)
@torch.no_grad()
def test_hpsv2_is_open_clip(folder: Path, name: str, file: str, antialias: bool) -> None:
    official = OpenClip(TINY).eval()
    torch.save({"epoch": 3, "state_dict": official.state_dict(), "optimizer": {"m": torch.ones(2)}}, folder / file)
    scores = rewards.find(name)().score(PICTURES, CAPTIONS)
    pixels = torch.stack([preprocess.hps(p, antialias) for p in PICTURES])
    expected = cosine(official.visual(pixels), official.text(ids_of(CAPTIONS)))
    assert scores.dtype == torch.float32
    assert torch.allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "tokens", "before"),
    [
        ("image_reward", 35, 0),
        ("mps", 77, 0),
        ("hpsv2", 77, 0),
        ("hpsv2.1-aa", 77, 0),
        ("pickscore", 77, 0),
        ("clip_score", 77, 3),
    ],
)
def test_long_captions_are_counted_without_the_model(folder: Path, name: str, tokens: int, before: int) -> None:
    """Two special tokens stand around a caption; "A photo depicts" before CLIPScore's takes three more."""
    reward = rewards.find(name)
    fits = " ".join(["bus"] * (tokens - 2 - before))
    assert reward.cut_captions([fits, fits]) == {"tokens": tokens, "captions_cut": 0}
    assert reward.cut_captions([fits, f"{fits} red", f"{fits} two", f"{fits} two", ""])["captions_cut"] == 2
    assert reward.cut_captions([]) == {"tokens": tokens, "captions_cut": 0}
    if name.startswith(("hps", "clip")):  # spaces around a caption, and entities, are no tokens
        assert reward.cut_captions([f"  {fits} &amp;amp; ".replace("bus &amp;amp;", "&amp;amp;")])["captions_cut"] == 0
    assert rewards.find("aesthetic").cut_captions([f"{fits} red"]) == {}


def test_both_ways_of_resizing_stand_in_the_papers_table() -> None:
    from reports.tables.paper import PREFERENCE

    heads = {c.key: (c.head, c.published) for c in PREFERENCE if c.key.startswith("hps")}
    assert heads == {
        "hpsv2": ("HPSv2, no antialias ↑", "hpsv2"),
        "hpsv2-aa": ("HPSv2, antialias ↑", "hpsv2"),
        "hpsv2.1": ("HPSv2.1, no antialias ↑", "hpsv2"),
        "hpsv2.1-aa": ("HPSv2.1, antialias ↑", "hpsv2"),
    }
    assert {c.key for c in PREFERENCE} == set(rewards.DEFAULT)  # so that `--metrics default` fills every column


def test_every_tensor_of_the_published_vit_h_14_goes_somewhere() -> None:
    with torch.device("meta"):
        official, own = OpenClip(clip.VIT_H_14).state_dict(), clip.VIT_H_14.build().state_dict()
    assert len(official) == 686
    converted = clip.convert_open_clip(official)
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in own.items()}
    with pytest.raises(KeyError):
        clip.convert_open_clip({"visual.ln_mid.weight": torch.zeros(1)})


@torch.no_grad()
def test_clip_scores_from_transformers_files(folder: Path) -> None:
    official = OpenClip(TINY).eval()
    published = clip.convert_open_clip(official.state_dict())
    published |= {f"{t}_model.embeddings.position_ids": torch.arange(7)[None] for t in ("text", "vision")}
    torch.save(published, folder / "clip-vit-b-32.bin")
    torch.save(published, folder / "pickscore.bin")
    openai, pil = (
        official.visual(torch.stack([f(p) for p in PICTURES]))
        for f in (preprocess.openai, preprocess.transformers_clip)
    )
    prefixed = official.text(ids_of([f"A photo depicts {c}" for c in CAPTIONS]))
    expected = cosine(openai, prefixed)
    assert torch.allclose(clip_scores.CLIPScore().score(PICTURES, CAPTIONS), expected, atol=1e-5)
    expected = official.logit_scale.exp() * cosine(pil, official.text(ids_of(CAPTIONS)))
    assert torch.allclose(clip_scores.PickScore().score(PICTURES, CAPTIONS), expected, atol=1e-3)


@torch.no_grad()
def test_the_aesthetic_predictor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official, head = OpenClip(TINY).eval(), clip_scores.LinearMLP(TINY.projection)
    torch.save(clip.convert_open_clip(official.state_dict()), folder / "clip-vit-l-14.bin")
    torch.save(head.state_dict(), folder / "aesthetic-l-14.pth")
    features = official.visual(torch.stack([preprocess.openai(p) for p in PICTURES]))
    expected = head.eval()(features / features.norm(dim=-1, keepdim=True))
    assert torch.allclose(clip_scores.Aesthetic().score(PICTURES, ["", ""]), expected, atol=1e-5)
    assert not clip_scores.Aesthetic.spec.needs_caption


BLIP = {
    "blip.visual_encoder.cls_token": "visual_encoder.embeddings.class_embedding",
    "blip.visual_encoder.pos_embed": "visual_encoder.embeddings.position_embedding",
    "blip.visual_encoder.patch_embed.proj.bias": "visual_encoder.embeddings.patch_embedding.bias",
    "blip.visual_encoder.blocks.11.attn.qkv.weight": "visual_encoder.encoder.layers.11.self_attn.qkv.weight",
    "blip.visual_encoder.blocks.1.attn.proj.bias": "visual_encoder.encoder.layers.1.self_attn.projection.bias",
    "blip.visual_encoder.blocks.1.norm2.bias": "visual_encoder.encoder.layers.1.layer_norm2.bias",
    "blip.visual_encoder.blocks.1.mlp.fc1.bias": "visual_encoder.encoder.layers.1.mlp.fc1.bias",
    "blip.visual_encoder.norm.weight": "visual_encoder.post_layernorm.weight",
    "blip.text_encoder.encoder.layer.0.crossattention.self.key.bias": (
        "text_encoder.encoder.layer.0.crossattention.self.key.bias"
    ),
    "mlp.layers.7.weight": "mlp.layers.7.weight",
}


def test_image_rewards_names() -> None:
    tensors = {name: torch.tensor(i) for i, name in enumerate([*BLIP, "blip.text_encoder.embeddings.position_ids"])}
    converted = image_reward.convert(tensors)
    assert {k: v.item() for k, v in converted.items()} == {new: i for i, new in enumerate(BLIP.values())}
    assert image_reward.convert({"blip.visual_encoder.blocks.0.attn.bias": torch.ones(1)}).keys() == {
        "visual_encoder.blocks.0.attn.bias"  # passed on, for the network to refuse
    }


@pytest.fixture
def tiny_image_reward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = image_reward.ImageRewardConfig(224, 56, (32, 2, 4), (24, 48, 2, 4), 40, 40)
    monkeypatch.setattr(image_reward, "ImageRewardNetwork", partial(image_reward.ImageRewardNetwork, config))
    state = image_reward.ImageRewardNetwork().state_dict()
    save_file({k: v + 0.2 * torch.randn(v.shape) for k, v in state.items()}, folder / "image-reward.safetensors")


@pytest.fixture
def tiny_mps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def network() -> mps.MPSNetwork:
        return original(TINY, mps.CrossModel(TINY.projection, 2, 8, 4))

    original = mps.MPSNetwork
    monkeypatch.setattr(mps, "MPSNetwork", network)
    state = network().state_dict()
    state |= {k: torch.full_like(v, 0.3) for k, v in state.items() if k.endswith("inv_freq")}
    torch.save({f"mps.{k}": v for k, v in state.items()}, folder / "mps-overall.bin")


@pytest.mark.parametrize("name", ["image_reward", "mps", "mps-0.01"])
def test_a_score_does_not_depend_on_its_neighbours(
    name: str, tiny_image_reward: None, tiny_mps: None, folder: Path
) -> None:
    reward = rewards.find(name)()
    together = reward.score(PICTURES, CAPTIONS)
    alone = torch.cat([reward.score([p], [c]) for p, c in zip(PICTURES, CAPTIONS, strict=True)])
    assert together.shape == (2,)
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(together, reward.score(PICTURES, CAPTIONS[::-1]), atol=1e-4)
    assert not torch.allclose(together, reward.score(PICTURES[::-1], CAPTIONS), atol=1e-4)


def test_long_captions_are_cut(tiny_image_reward: None) -> None:
    texts = image_reward.Texts(image_reward.TOKENIZER, image_reward.LENGTH, "[PAD]")
    ids, mask = texts(["a red bus " * 40, "cats"])
    assert ids.shape == mask.shape == (2, 35)
    assert ids[0, -1].item() == 39  # [SEP] stays
    assert mask.sum(1).tolist() == [35, 3]


def test_bfloat16_scores_are_float32(tiny_image_reward: None) -> None:
    scores = rewards.find("image_reward")("cpu", torch.bfloat16).score(PICTURES, CAPTIONS)
    exact = rewards.find("image_reward")().score(PICTURES, CAPTIONS)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, exact)
    assert torch.allclose(scores, exact, rtol=0.02)


def test_foreign_weights_are_refused(folder: Path) -> None:
    state = clip.convert_open_clip(OpenClip(TINY).state_dict())
    state.pop("logit_scale")
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "pickscore.safetensors")
    with pytest.raises(UserError, match=r"do not fit pickscore: 1 missing \(logit_scale\)"):
        clip_scores.PickScore()
    (folder / "clip-tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"clip-tokenizer is not a tokenizer\.json"):
        clip.texts()


def test_missing_weights_say_how_they_are_had(folder: Path) -> None:
    with pytest.raises(WeightsNotFound, match="hps-v2; tried hub:xswu/HPSv2"):
        hpsv2.HPSv2()


def test_html_in_captions_is_read_as_text(folder: Path) -> None:
    assert clip.unescaped(" a cat &amp;amp; a dog ") == "a cat & a dog"


def test_two_rewards_of_one_name_are_refused() -> None:
    rewards.find("mps")
    with pytest.raises(UserError, match="two rewards are named 'mps'"):
        rewards.register_reward(RewardSpec("mps", "MIT"))(Plugged)


def test_antialias_is_another_picture() -> None:
    rng = np.random.default_rng(0)
    from PIL import Image

    noise = Image.fromarray(rng.integers(0, 256, (512, 300, 3), dtype=np.uint8))
    plain, smooth = preprocess.hps(noise, antialias=False), preprocess.hps(noise, antialias=True)
    assert plain.shape == smooth.shape == (3, 224, 224)
    assert plain[:, :, 50:170].std() > 1.5 * smooth[:, :, 50:170].std()
    assert torch.equal(preprocess.hps(noise.crop((0, 0, 224, 100)), True)[:, :62], plain[:, :62, :1].expand(3, 62, 224))


class Plugged(Reward):
    spec = RewardSpec("plugged", "MIT")

    def _score(self, images: list, captions: list[str]) -> Tensor:
        return torch.tensor([float("nan")] * len(images))


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, EntryPoint]]:
    """A reward of another package, one that cannot be imported, and what is none."""
    with plugged(monkeypatch, tmp_path, rewards.REWARDS) as points:
        for name, value in (
            ("plugged", f"{__name__}:Plugged"),
            ("broken", "no_such_module:X"),
            ("other", "json:JSONDecoder"),
        ):
            points[name] = EntryPoint(name, value, "lactok.rewards")
        yield points


@pytest.mark.usefixtures("plug")
def test_plug_ins(caplog: pytest.LogCaptureFixture) -> None:
    assert rewards.names()[-3:] == ["plugged", "broken", "other"]
    assert rewards.find("plugged") is Plugged
    needed = rewards.assets()
    assert needed["plugged"] == ()
    assert [asset.name for asset in needed["mps-0.01"]] == ["mps-overall", "clip-tokenizer"]
    assert [r.message.partition(" (")[0] for r in caplog.records] == [
        "left out: plug-in 'broken'",
        "left out: plug-in 'other'",
    ]
    known, broken = rewards.specs(["plugged", "broken", "other"])
    assert list(known) == ["plugged"]
    assert "cannot be imported: ModuleNotFoundError" in broken["broken"]
    assert "is no reward" in broken["other"]
    with pytest.raises(UserError, match=r"unknown reward 'mpss', did you mean 'mps'\?"):
        rewards.find("mpss")
    with pytest.raises(UserError, match=r"plugged: a score is not finite"):
        Plugged().score(PICTURES, CAPTIONS)
    with pytest.raises(ValueError, match="2 images and 1 captions"):
        Plugged().score(PICTURES, CAPTIONS[:1])
    assert Plugged().score([], []).shape == (0,)


def test_every_name_is_its_classes_own() -> None:
    assert rewards.names() == [
        "image_reward",
        "mps",
        "hpsv2",
        "hpsv2-aa",
        "hpsv2.1",
        "hpsv2.1-aa",
        "pickscore",
        "clip_score",
        "aesthetic",
    ]
    assert rewards.VARIANTS == ("mps-0.01",)
    assert set(rewards.DEFAULT) < set(rewards.names())
    for name in [*rewards.names(), *rewards.VARIANTS]:
        spec = rewards.find(name).spec
        assert spec.name == name
        assert spec.variant
        assert spec.assets
    columns = published.table("generation").columns
    assert {rewards.find(n).spec.published for n in rewards.DEFAULT} <= set(columns)
