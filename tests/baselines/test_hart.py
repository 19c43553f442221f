"""HART from a caption to a picture, small and with random weights, read from files as the published ones are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import lend
from small_generators import HART_PIXELS, HART_PROMPT, HART_SHAPE, HART_VALUES, write_hart

from baselines.hart import HARTGenerator, tokenizer_shape
from lactok import registry
from lactok.errors import UserError
from lactok.nn import hart_checkpoint
from lactok.nn.hart import HARTConfig
from lactok.nn.hart_checkpoint import ASSETS


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """The files of a small HART in a folder of the user's, and the generator `small-hart` that reads them."""
    write_hart(tmp_path)
    monkeypatch.setattr(hart_checkpoint, "PROMPT_SHA256", hashlib.sha256(HART_PROMPT.encode()).hexdigest())
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    entry = registry.GENERATORS.entry("hart-0.7b")
    spec = replace(entry.spec, name="small-hart", output_size=16)
    lend(monkeypatch, registry.GENERATORS)
    registry.register_generator(spec, config=HART_SHAPE, tokenizer=HART_PIXELS)(HARTGenerator)
    return tmp_path


def test_a_picture_depends_on_its_caption_and_its_seed_alone(small: Path) -> None:
    generator = registry.load_generator("small-hart")
    together = generator.generate(["a red bus", "green cat"], [3, 4])
    assert together.shape == (2, 3, 16, 16)
    for i, (caption, seed) in enumerate((("a red bus", 3), ("green cat", 4))):
        assert torch.allclose(generator.generate([caption], [seed])[0], together[i], atol=1e-4)
    assert not torch.allclose(generator.generate(["a red bus"], [4])[0], together[0], atol=1e-2)


def test_the_shape_is_that_of_the_configuration(small: Path) -> None:
    (small / "hart-0.7b-config.json").write_text(json.dumps(HART_VALUES | {"depth": 3}))
    with pytest.raises(UserError, match=r"do not fit .*missing \(blocks\.2\."):
        registry.load_generator("small-hart")
    (small / "hart-0.7b-config.json").write_text(json.dumps(HART_VALUES | {"attn_l2_norm": True}))
    with pytest.raises(UserError, match="not built here: attn_l2_norm = True"):
        registry.load_generator("small-hart")


def test_another_system_prompt_is_refused(small: Path) -> None:
    (small / "hart-system-prompt.py").write_text('llm_system_prompt = "something else"\n')
    with pytest.raises(UserError, match="does not hold llm_system_prompt as it was released"):
        registry.load_generator("small-hart")


def test_the_published_shape_fits_its_tokenizer() -> None:
    assert tokenizer_shape(HARTConfig()).downsampling * HARTConfig().sides[-1] == 1024
    assert [asset.name for asset in ASSETS][-2:] == ["hart-text-tokenizer", "hart-system-prompt"]
