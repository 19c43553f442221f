"""Stages as plug-ins, rewards and generators as stages, Qwen2.5-VL, and the trainer that takes what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import lend, photograph, plugged
from pairs import trainer
from PIL import Image
from reference import ROOT
from test_construction import SMALL, STAGES, content, records, run

import lactok
from lactok.data import Captioner, Filter, Pair, Stage, captioning
from lactok.data.filtering import rules
from lactok.data.registry import GROUP, find
from lactok.data.registry import STAGES as REGISTRY
from lactok.data.sources import picture_source
from lactok.errors import UserError, WeightsNotFound
from lactok.metrics import rewards
from lactok.metrics.rewards import Reward, RewardSpec
from lactok.plugins import Plugins
from lactok.specs import GeneratorSpec
from lactok.tokenizer import Generator
from lactok.training.data import Photos
from lactok.training.generator import GeneratorRecipe, captions


def test_the_trainer_takes_the_folder(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    """Of the whole folder it takes the pairs that passed, with their captions; then it trains on them."""
    out = tmp_path / "constructed"
    assert run("--out", out, *SMALL, "--count", "30") == 0
    kept = records(out / "pairs")
    assert 12 < len(kept) < 30
    photos = Photos.of(out, 0).train
    found = captions.find(photos, str(out), "", tmp_path / "captions")
    texts = {photo.name: found.text(number) for number, photo in enumerate(photos)}
    assert texts == {f"{key}.png": record["caption"] for key, record in kept.items()}
    run_of = trainer(replace(pair_recipe, data=str(out), steps=2), tmp_path / "trained")
    run_of.run()
    assert len(run_of.pairs.rows) == len(kept) - pair_recipe.held_out
    losses = [json.loads(line).get("loss") for line in (tmp_path / "trained" / "curve.jsonl").read_text().splitlines()]
    assert any(loss is not None and np.isfinite(loss) for loss in losses)


class Grey(Generator):
    """A grey whose level is the prompt's length."""

    spec = GeneratorSpec("grey-for-data", "test", "text", 16, "MIT")

    def _generate(self, conditions: list[str] | list[int], seeds: torch.Tensor) -> torch.Tensor:
        return torch.tensor([len(str(c)) / 51 for c in conditions]).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)


class Level(Reward):
    """The mean grey level, 0 to 1."""

    spec = RewardSpec("level", "MIT")

    def _score(self, images: list[Image.Image], captions: list[str]) -> torch.Tensor:
        return torch.tensor([float(np.asarray(image).mean() / 255) for image in images])


def test_generators_and_rewards_are_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(monkeypatch, lactok.registry.GENERATORS)
    lactok.register_generator(Grey.spec)(Grey)
    monkeypatch.setitem(rewards.REWARDS.registered, "level", Level)
    (tmp_path / "prompts.txt").write_text("a red bus\na bus that is green\n")
    words = ("--prompts", tmp_path / "prompts.txt", "--generator", Grey.spec.name, "--captioner", "raw")
    assert run("--out", tmp_path / "out", *words, "--filters", "level>0.2") == 0
    (kept,), (rejected,) = (records(tmp_path / "out" / name).values() for name in ("pairs", "rejected"))
    assert (kept["prompt"], kept["scores"]["level"]) == ("a bus that is green", pytest.approx(19 / 51, abs=1e-6))
    assert rejected["rejected"] == {"level": f"{9 / 51:.6g} is not above 0.2"}


def test_the_papers_stages_are_found_without_weights() -> None:
    assert picture_source("flux.1-dev").state() == "of the hub"
    assert picture_source("flux.1-dev@steps=20").spec.side == 1024
    assert all(rule.filter.spec.assets for rule in rules("image_reward mps"))
    assert find(Captioner, "qwen2.5-vl-7b@words=12").spec.values == {"words": 12}  # type: ignore[type-abstract]


def test_stages_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_stages.py").write_text(
        "from lactok.data import Captioner, StageSpec, register_stage\n"
        "@register_stage(StageSpec('loud'))\n"
        "class Loud(Captioner):\n    def captions(self, pairs):\n        return [p.prompt.upper() for p in pairs]\n"
        "class Plain(Loud):\n    spec = StageSpec('plain')\n"
    )
    with plugged(monkeypatch, tmp_path, REGISTRY) as points:
        for name, value in (("loud", "their_stages:Loud"), ("plain", "their_stages:Plain"), ("odd", "json:loads")):
            points[name] = EntryPoint(name, value, GROUP)
        assert isinstance(find(Captioner, "loud"), Captioner)  # type: ignore[type-abstract]
        assert find(Captioner, "plain").spec.name == "plain"  # type: ignore[type-abstract]
        with pytest.raises(UserError, match="is no stage"):
            find(Captioner, "odd")  # type: ignore[type-abstract]
        with pytest.raises(UserError, match="loud is a captioner, not a filter"):
            find(Filter, "loud")  # type: ignore[type-abstract]
        assert {"loud", "plain"} <= set(REGISTRY.of_kind(Captioner))
        assert "odd" not in REGISTRY.of_kind(Stage)


def test_the_projects_own_entry_points_name_what_they_register() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, value in project["entry-points"][GROUP].items():
        loaded = EntryPoint(name, value, GROUP).load()
        assert REGISTRY.registered[name].stage is loaded
    assert isinstance(REGISTRY, Plugins)


def qwen_folder(folder: Path) -> Path:
    """Write a small Qwen2.5-VL with random weights, its image processor and a text tokenizer of single bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    words = PreTrainedTokenizerFast(tokenizer_object=base, eos_token="<|im_end|>", pad_token="<|im_end|>")
    words.add_special_tokens({"additional_special_tokens": special[:5]})
    ids = {name: words.convert_tokens_to_ids(name) for name in special}
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}{% if c.type == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    side = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=side), words, Qwen2VLVideoProcessor(), chat_template=template
    )
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_qwen_writes_captions(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network of its class, with random weights; a batch gives what each picture gives alone."""
    qwen_folder(tmp_path / "weights" / "qwen2.5-vl-3b")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(captioning, "NEW_TOKENS", 6)
    stage = find(Captioner, "qwen2.5-vl-3b")  # type: ignore[type-abstract]
    assert stage.state() == "ready"
    assert stage.settings()["instruction"].startswith("Write a new caption for this image, in one sentence within 20")
    stage.load("cpu", "float32")
    pairs = [Pair(str(i), f"picture {'x' * i}", "", photograph(i, 64, 48 + 28 * i), 0) for i in range(2)]
    both = stage.captions(pairs)
    assert both == [stage.captions([pair])[0] for pair in pairs]
    assert all(isinstance(text, str) for text in both)
    asked = stage.processor.apply_chat_template  # type: ignore[attr-defined]
    seen: list[str] = []
    monkeypatch.setattr(
        stage.processor,  # type: ignore[attr-defined]
        "apply_chat_template",
        lambda messages, **more: seen.append(messages[0]["content"][1]["text"]) or asked(messages, **more),
    )
    stage.captions(pairs[:1])
    assert seen == [captioning.instruction("picture ")]


def test_qwen_without_weights(own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    stage = find(Captioner, "qwen2.5-vl-72b")  # type: ignore[type-abstract]
    assert stage.state() == "to fetch, 147.0 GB"
    with pytest.raises(WeightsNotFound, match=r"weights not found: qwen2.5-vl-72b \(147 GB, Qwen License\).*--weights"):
        stage.settings()


def on_ray(*words: object) -> tuple[int, str]:
    """Run the command on Ray in a process of its own; return its exit code and its last line of errors."""
    pytest.importorskip("ray", reason="ray is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    arguments = [sys.executable, "-m", "lactok.data", *map(str, words), "--engine", "ray"]
    ended = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    return ended.returncode, (ended.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tmp_path: Path) -> None:
    assert run("--out", tmp_path / "here", *SMALL) == 0
    assert on_ray("--out", tmp_path / "there", *SMALL, "--workers", "2")[0] == 0
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert "pictures" in json.loads((tmp_path / "there" / "run.json").read_text())["steps"]


@pytest.mark.slow
def test_an_error_on_ray_is_one_line(tmp_path: Path) -> None:
    filters = STAGES[1].replace(":Endless", ":Short")
    code, error = on_ray("--out", tmp_path / "out", *SMALL, "--filters", filters, "--workers", "1")
    assert code == 2
    assert error == "error: filter short returned 0 results for 1 pairs"
