"""The autoregressive model: ids that are certain, ids that are chance, and the same budget for all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.probe.autoregressive import Coder, Split, learn
from benchmarks.probe.budget import Budget
from benchmarks.probe.model import Places, SmallGPT, parameters
from benchmarks.probe.symbols import Alphabet, Layout

BUDGET = Budget(
    **{"steps": 100, "step_symbols": 256, "width": 16, "depth": 1, "heads": 2, "symbols": 16, "context": 64},
    **{"learning_rate": 2e-2, "checks": 4},
)
CONTENTS = [f"{i:03}" for i in range(60)]
SPLIT = Split.of(CONTENTS, BUDGET)


def layout_of(codes: int, *levels: int) -> Layout:
    return Layout(Alphabet.of(codes, BUDGET.symbols), levels)


def bits_per_id(ids: np.ndarray, layout: Layout, budget: Budget = BUDGET) -> float:
    return float(learn(ids, layout, SPLIT, budget, "cpu").bits.sum(1).mean()) / ids.shape[1]


@pytest.mark.slow
@pytest.mark.parametrize(("codes", "code"), [(16, 3), (4096, 4095), (2**32, 2**31 + 77)])
def test_constant_ids_take_hardly_any_bits(codes: int, code: int) -> None:
    ids = np.full((60, 8), code)
    assert bits_per_id(ids, layout_of(codes, 8), replace(BUDGET, steps=300)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("codes", [2, 16, 100, 4096])
def test_random_ids_take_all_their_bits(codes: int) -> None:
    ids = np.random.default_rng(0).integers(0, codes, (60, 16))
    assert bits_per_id(ids, layout_of(codes, 16)) == pytest.approx(np.log2(codes), rel=0.03)


@pytest.mark.slow
def test_what_follows_from_earlier_ids_is_found() -> None:
    first = np.random.default_rng(0).integers(0, 16, (60, 1))
    ids = np.tile(first, (1, 8))  # the first id is chance, the others repeat it
    longer = replace(BUDGET, steps=300, learning_rate=1e-2)
    assert bits_per_id(ids, layout_of(16, 8), longer) < 2


@pytest.mark.slow
def test_levels_are_told_apart() -> None:
    ids = np.random.default_rng(0).integers(0, 16, (60, 12))
    ids[:, :4] = 5
    learned = learn(ids, layout_of(16, 4, 8), SPLIT, BUDGET, "cpu")
    certain, chance = learned.bits.mean(0) / np.array([4, 8])
    assert learned.bits.shape == (len(SPLIT.held_out), 2)
    assert certain < 0.3
    assert chance == pytest.approx(4, rel=0.05)


@pytest.mark.slow
def test_images_of_more_symbols_than_the_model_sees() -> None:
    layout = layout_of(256, 40)  # 80 symbols, 64 at once
    assert layout.windows(64) == [(0, 0), (16, 64)]
    assert layout_of(4096, 30).windows(64)[0] == (0, 0)  # three digits: 63 symbols are whole ids
    assert layout_of(4096, 30).window(64) == 63
    assert bits_per_id(np.full((60, 40), 18), layout) < 0.2
    ids = np.random.default_rng(0).integers(0, 256, (60, 40))
    assert bits_per_id(ids, layout) == pytest.approx(8, rel=0.03)


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("tokens", [1, 20, 21, 22, 64, 100, 333])
def test_windows_count_every_symbol_once(digits: int, tokens: int) -> None:
    layout = Layout(Alphabet(16**digits, 16, digits), (tokens,))
    length, counted = layout.window(64), np.zeros(layout.length, int)
    for start, first in layout.windows(64):
        assert start % digits == 0
        assert start <= first < start + length <= layout.length
        counted[first : start + length] += 1
    assert (counted == 1).all()


@pytest.mark.parametrize("codes", [1, 2, 15, 16, 17, 255, 256, 257, 64000, 2**18, 2**40, 2**62, 2**64])
def test_ids_are_written_so_that_they_can_be_read(codes: int) -> None:
    alphabet = Alphabet.of(codes, 256)
    assert alphabet.base <= 256
    assert alphabet.base**alphabet.digits >= codes
    ids = np.array([[0, codes // 2 % 2**62, min(codes, 2**63) - 1]])
    written = alphabet.written(ids).reshape(3, alphabet.digits)
    read = [sum(int(d) * alphabet.base**p for p, d in enumerate(reversed(row))) for row in written.tolist()]
    assert read == ids[0].tolist()
    assert (written < np.array(alphabet.choices)).all()


def test_every_tokenizer_has_the_same_budget() -> None:
    assert parameters(BUDGET) == sum(p.numel() for p in SmallGPT(BUDGET).parameters())
    for layout in (layout_of(16, 5), layout_of(4096, 1, 4, 9), layout_of(2**18, 100)):
        coder = Coder(SmallGPT(BUDGET), layout, Places.of(layout, BUDGET, "cpu"), BUDGET)
        images = torch.zeros(7, layout.length, dtype=torch.int64)
        steps = list(coder.batches(images))
        assert len(steps) == BUDGET.steps
        seen = sum(symbols.numel() for batches in steps for symbols, _ in batches)
        assert abs(seen - BUDGET.steps * BUDGET.step_symbols) < layout.window(BUDGET.context)


def test_nothing_is_known_before_the_first_step() -> None:
    layout = layout_of(100, 6)
    coder = Coder(SmallGPT(BUDGET), layout, Places.of(layout, BUDGET, "cpu"), BUDGET)
    bits = coder.bits(torch.from_numpy(layout.alphabet.written(np.arange(60).reshape(10, 6))))
    assert np.allclose(bits.sum(1), 6 * np.log2(100))


def test_a_symbol_depends_on_those_before_it_alone() -> None:
    layout = layout_of(16, 10)
    torch.manual_seed(0)
    model = SmallGPT(BUDGET)
    torch.nn.init.normal_(model.head.weight)
    coder = Coder(model, layout, Places.of(layout, BUDGET, "cpu"), BUDGET)
    symbols = torch.randint(0, 16, (2, 10))
    other = symbols.clone()
    other[:, 6:] = (other[:, 6:] + 1) % 16
    first, second = coder.bits(symbols), coder.bits(other)
    assert np.allclose(first[:, :6], second[:, :6], atol=1e-5)
    assert not np.allclose(first[:, 7:], second[:, 7:], atol=1e-3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits() -> None:
    ids = np.random.default_rng(0).integers(0, 4, (60, 8))
    few = replace(BUDGET, steps=10)
    first, again, other = (
        learn(ids, layout_of(16, 8), SPLIT, budget, "cpu").bits for budget in (few, few, replace(few, seed=1))
    )
    assert (first == again).all()
    assert not (first == other).all()


def test_photographs_are_split_by_their_files_and_copies_stay_together() -> None:
    assert (len(SPLIT.training), len(SPLIT.validation), len(SPLIT.held_out)) == (42, 6, 12)
    assert SPLIT.names.count("held out") == 12
    twice = Split.of([content for content in CONTENTS for _ in range(2)], BUDGET)
    assert [twice.names[i] == twice.names[i + 1] for i in range(0, 120, 2)] == [True] * 60
    capped = Split.of(CONTENTS, replace(BUDGET, validation=2, held_out=3))
    assert (len(capped.training), len(capped.validation), len(capped.held_out)) == (55, 2, 3)
