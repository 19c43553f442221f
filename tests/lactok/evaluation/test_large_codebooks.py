"""Ids of large codebooks and of several levels: encoded, stored, counted and decoded as all others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Toy
from torch import Tensor

import lactok
from lactok import registry
from lactok.evaluation.code_length import order0_bits
from lactok.evaluation.id_statistics import id_statistics
from lactok.specs import Option, TokenizerSpec

STEP = 2**34  # between the ids that occur


class Wide(Toy):
    """The toy's ids, spread over a codebook whose ids need 40 bits; its 16 ids are of two levels."""

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        return super()._encode(images, seeds) * STEP

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        return super()._decode(ids // STEP, seeds)


def wide() -> Wide:
    toy = registry.TOKENIZERS.entry("toy").spec
    return Wide(replace(toy, name="wide", codebook_size=2**40, levels=(4, 12))).eval()


def test_ids_of_forty_bits_are_stored_and_counted(photographs: Path, tmp_path: Path) -> None:
    options = {"dataset": photographs, "metrics": "psnr", "limit": 6, "protocol": "square-256"}
    narrow = lactok.evaluate("toy", out=tmp_path / "narrow", **options)
    result = lactok.evaluate(wide(), out=tmp_path / "wide", **options)
    assert result["psnr"].value == narrow["psnr"].value
    ids, plain = (np.load(r.folder / "tokens.npz")["ids"] for r in (result, narrow))
    assert ids.max() > 2**31
    assert np.array_equal(ids, plain.astype(np.int64) * STEP)
    assert plain.dtype == np.int32
    content, other = (json.loads((r.folder / "result.json").read_text()) for r in (result, narrow))
    assert content["tokenizer"]["bits"] == 16 * 40
    assert content["codebook"]["size"] == 2**40
    for key in ("seen", "used", "entropy_bits", "perplexity"):
        assert content["codebook"][key] == other["codebook"][key]
    assert content["tokenizer"]["levels"] == [4, 12]
    levels = content["ids"]["levels"]
    assert [part["tokens"] for part in levels] == [4, 12]
    assert [part["used"] for part in levels] == [len(np.unique(ids[:, :4])), len(np.unique(ids[:, 4:]))]
    assert "levels" not in other["tokenizer"]
    assert "levels" not in other["ids"]


@pytest.mark.parametrize("bits", [31, 33, 48, 63])
def test_the_code_of_order_0_keeps_its_digits(bits: int) -> None:
    """Ids that occur once each cost all bits of their codebook, and a share of one bit for the choice of the code."""
    length = order0_bits(np.ones(5, np.int64), 2**bits)
    assert 5 * bits <= length < 5 * bits + 3
    repeated = order0_bits(np.array([1000]), 2**bits)  # the first costs its bits, the others next to nothing
    assert bits < repeated < bits + 20


def test_the_largest_codebook_has_statistics() -> None:
    found = id_statistics(np.array([[0, 2**62], [2**63 - 1, 5]]), ["a", "b"], 2**63, levels=(1, 1))
    assert found["order0_bits"] == pytest.approx(2 * 63, abs=2)
    assert [part["used"] for part in found["levels"]] == [2, 2]


SPEC = TokenizerSpec("x", "x", 20, 8, 64, 64, "MIT", levels=(4, 16))
INPUT = {"input": Option(64, "side", choices=(64, 128))}


def test_levels_grow_with_the_input_or_as_stated() -> None:
    by_area = replace(SPEC, options=INPUT).with_options("input=128")
    assert (by_area.tokens, by_area.levels) == (80, (16, 64))
    stated = replace(SPEC, options=INPUT, levels_of_input={128: (4, 30)}).with_options("input=128")
    assert (stated.tokens, stated.levels, stated.bits) == (34, (4, 30), 34 * 3)


def test_ids_are_checked_against_a_large_codebook() -> None:
    with pytest.raises(ValueError, match="its ids are 0 to 1099511627775, not 0 to 1099511627776"):
        wide().decode(torch.tensor([[0] * 15 + [2**40]]))
