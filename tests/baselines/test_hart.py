"""HART from a caption to a picture, small and with random weights, read from files as the published ones are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from baselines.hart import HARTGenerator, tokenizer_shape
from lactok import registry
from lactok.errors import UserError
from lactok.nn import hart_checkpoint
from lactok.nn.hart import HART, HARTConfig
from lactok.nn.hart_checkpoint import ASSETS
from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ

SHAPE = HARTConfig(32, 2, 2, 256, 8, 24, (1, 2, 4), 8, 64, 32, 1, 4)
VALUES = {
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 4.0,
    "context_token": 8,
    "context_dim": 24,
    "patch_nums": [1, 2, 4],
    "diff_width": 32,
    "diff_depth": 1,
    "num_sampling_steps": "4",
    "attn_type": "llama",
}
WORDS = ["<|endoftext|>", "<unk>", *["a", "red", "bus", "green", "cat", "prompt"]]
TEXT = {
    "vocab_size": len(WORDS),
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}
PROMPT = "prompt a red"
PIXELS = MultiScaleConfig(32, (1, 1, 1), 1, 8, 64, (1, 2, 4))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """The files of a small HART in a folder of the user's, and the generator `small-hart` that reads them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(0)
    network, autoencoder, text = HART(SHAPE), MultiScaleVQ(PIXELS), Qwen2Model(Qwen2Config(**TEXT))
    mask = {"attn_bias_for_masking": torch.full((1, 1, 4, 4), -torch.inf)}
    torch.save(network.state_dict() | mask, tmp_path / "hart-0.7b.pt")
    stored = {f"vae.{k}": v for k, v in autoencoder.state_dict().items()} | {"disc.main.0.weight": torch.ones(1)}
    torch.save(stored, tmp_path / "hart-tokenizer.pt")
    tensors = {f"model.{k}": v.clone() for k, v in text.state_dict().items()}
    names = sorted(tensors)
    save_file({k: tensors[k] for k in names[:3]}, tmp_path / "hart-text-1.safetensors")
    save_file({k: tensors[k] for k in names[3:]}, tmp_path / "hart-text-2.safetensors")
    (tmp_path / "hart-0.7b-config.json").write_text(json.dumps(VALUES))
    (tmp_path / "hart-text-config.json").write_text(
        json.dumps(TEXT | {"model_type": "qwen2", "architectures": ["Qwen2"]})
    )
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "hart-text-tokenizer.json"))
    (tmp_path / "hart-system-prompt.py").write_text(
        'import os\nllm_system_prompt = "prompt " "a red"\nos.remove("x")\n'
    )
    monkeypatch.setattr(hart_checkpoint, "PROMPT_SHA256", hashlib.sha256(PROMPT.encode()).hexdigest())
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    entry = registry.GENERATORS.entry("hart-0.7b")
    spec = replace(entry.spec, name="small-hart", output_size=16)
    monkeypatch.setattr(registry.GENERATORS, "registered", dict(registry.GENERATORS.registered))
    registry.register_generator(spec, config=SHAPE, tokenizer=PIXELS)(HARTGenerator)
    return tmp_path


def test_a_picture_depends_on_its_caption_and_its_seed_alone(small: Path) -> None:
    generator = registry.load_generator("small-hart")
    together = generator.generate(["a red bus", "green cat"], [3, 4])
    assert together.shape == (2, 3, 16, 16)
    for i, (caption, seed) in enumerate((("a red bus", 3), ("green cat", 4))):
        assert torch.allclose(generator.generate([caption], [seed])[0], together[i], atol=1e-4)
    assert not torch.allclose(generator.generate(["a red bus"], [4])[0], together[0], atol=1e-2)


def test_the_shape_is_that_of_the_configuration(small: Path) -> None:
    (small / "hart-0.7b-config.json").write_text(json.dumps(VALUES | {"depth": 3}))
    with pytest.raises(UserError, match=r"do not fit .*missing \(blocks\.2\."):
        registry.load_generator("small-hart")
    (small / "hart-0.7b-config.json").write_text(json.dumps(VALUES | {"attn_l2_norm": True}))
    with pytest.raises(UserError, match="not built here: attn_l2_norm = True"):
        registry.load_generator("small-hart")


def test_another_system_prompt_is_refused(small: Path) -> None:
    (small / "hart-system-prompt.py").write_text('llm_system_prompt = "something else"\n')
    with pytest.raises(UserError, match="does not hold llm_system_prompt as it was released"):
        registry.load_generator("small-hart")


def test_the_published_shape_fits_its_tokenizer() -> None:
    assert tokenizer_shape(HARTConfig()).downsampling * HARTConfig().sides[-1] == 1024
    assert [asset.name for asset in ASSETS][-2:] == ["hart-text-tokenizer", "hart-system-prompt"]
