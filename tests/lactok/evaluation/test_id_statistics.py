"""Coded bits of ids, use of the codebook by position, images that share ids: against truth that is known."""

from __future__ import annotations

import json
from math import log2
from pathlib import Path

import numpy as np
import pytest

import lactok
from lactok.errors import UserError
from lactok.evaluation import id_statistics
from lactok.evaluation.code_length import _priors, adaptive_bits, order0_bits
from lactok.evaluation.store import Store


def histogram(ids: np.ndarray) -> np.ndarray:
    return np.unique(ids, return_counts=True)[1]


def one_after_the_other(ids: list[int], size: int) -> float:
    """The length of the code of order 0 as a coder would find it: id by id, from the ids before alone."""
    weights = np.ones(len(_priors(size)) + 1)
    length = 0.0
    seen = np.zeros(size)
    for i in ids:
        p = [1 / size, *((seen[i] + a) / (seen.sum() + a * size) for a in _priors(size))]
        weights /= weights.sum()
        length -= log2(float(weights @ p))
        weights *= p
        seen[i] += 1
    return length


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_order_0_is_what_a_coder_would_need_id_by_id(size: int) -> None:
    ids = np.random.default_rng(size).integers(0, max(1, size // 2), 40)
    expected = one_after_the_other(ids.tolist(), size)
    assert order0_bits(histogram(ids), size) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(9, 4), (20, 3), (6, 1)])
def test_the_probabilities_of_the_adaptive_model_sum_to_one(shape: tuple[int, int]) -> None:
    """Whatever came before, all ids that could come next share a probability of one: the code can be decoded."""
    ids = np.random.default_rng(0).integers(0, 4, shape)
    ids[0, 0], ids[-1, -1] = 0, 3
    for place in [(0, 0), (1, 0), (shape[0] // 2, shape[1] // 2), (shape[0] - 1, shape[1] - 1)]:
        total = 0.0
        for code in range(4):
            changed = ids.copy()
            changed[place] = code
            total += 2.0 ** -adaptive_bits(changed, 4)[place]
        assert total == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("length", [16, 7])
def test_an_id_depends_on_the_ids_before_it_alone(length: int) -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 8, (30, length))
    bits = adaptive_bits(ids, 8)
    for image, position in [(0, 3), (11, 0), (29, length - 1)]:
        changed = ids.ravel().copy()
        at = image * length + position
        changed[at + 1 :] = rng.integers(0, 8, len(changed) - at - 1)
        again = adaptive_bits(changed.reshape(ids.shape), 8).ravel()
        assert again[: at + 1] == pytest.approx(bits.ravel()[: at + 1], abs=1e-12)
    assert adaptive_bits(ids[:13], 8) == pytest.approx(bits[:13], abs=1e-12)


def test_the_names_of_codes_do_not_matter() -> None:
    ids = np.random.default_rng(2).integers(0, 8, (20, 9))
    renamed = np.random.default_rng(3).permutation(8)[ids]
    assert adaptive_bits(renamed, 8) == pytest.approx(adaptive_bits(ids, 8), abs=1e-12)


@pytest.mark.parametrize("size", [2, 64, 16384])
def test_uniform_ids_cost_the_nominal_bits_or_little_more(size: int) -> None:
    ids = np.random.default_rng(0).integers(0, size, (200, 64))
    nominal = ids.size * log2(size)
    assert nominal - 60 < order0_bits(histogram(ids), size) <= nominal + log2(len(_priors(size)) + 1)
    assert 0.99 * nominal < adaptive_bits(ids, size).sum() < 1.02 * nominal + 600


def test_constant_ids_cost_next_to_nothing() -> None:
    ids = np.full((200, 64), 5)
    assert order0_bits(histogram(ids), 16384) < 40
    assert adaptive_bits(ids, 16384).sum() < 0.01 * ids.size * 14


def test_what_depends_on_position_and_neighbours_is_found() -> None:
    """The entropy of a source that is known: bits of it, of what depends on position, and of repeated neighbours."""
    rng = np.random.default_rng(0)
    by_position = rng.integers(0, 4, (2000, 8)) + 4 * np.arange(8)  # 2 bits an id, 5 without the position
    bits = adaptive_bits(by_position, 32)
    assert bits[1000:].mean() == pytest.approx(2, abs=0.05)
    assert order0_bits(histogram(by_position), 32) / by_position.size == pytest.approx(5, abs=0.05)
    chain = np.zeros((2000, 10), np.int64)
    chain[:, 0] = rng.integers(0, 16, 2000)
    for j in range(1, 10):  # the next code, or with a probability of 1/2 the one after: 1 bit an id
        chain[:, j] = (chain[:, j - 1] + 1 + rng.integers(0, 2, 2000)) % 16
    bits = adaptive_bits(chain, 16)
    assert bits[1000:, 1:].mean() == pytest.approx(1, abs=0.05)
    above = np.zeros((2000, 9), np.int64)
    above[:, :3] = rng.integers(0, 8, (2000, 3))
    above[:, 3:6] = above[:, :3]
    above[:, 6:] = above[:, :3]
    bits = adaptive_bits(above, 8)
    assert bits[1000:, 3:].mean() < 0.1
    assert bits[1000:, :3].mean() == pytest.approx(3, abs=0.1)


def test_no_ids_have_no_bits() -> None:
    assert adaptive_bits(np.zeros((0, 4), np.int64), 8).shape == (0, 4)
    assert adaptive_bits(np.zeros((3, 1), np.int32), 1) == pytest.approx(np.zeros((3, 1)), abs=1e-12)


def test_positions_and_shared_ids() -> None:
    ids = np.array([[0, 5], [1, 5], [0, 5], [1, 5], [0, 6]])
    distinct, entropy = id_statistics.by_position(ids)
    assert distinct.tolist() == [2, 2]
    p = np.array([[0.6, 0.4], [0.8, 0.2]])
    assert entropy == pytest.approx(-(p * np.log2(p)).sum(1))
    found = id_statistics.shared_ids(ids, list("abcde"))
    assert (found["shared"], found["shared_groups"]) == (4, 2)
    assert sorted(found["shared_examples"]) == [["a", "c"], ["b", "d"]]
    assert id_statistics.shared_ids(ids[[0, 1, 4]], list("abc"))["shared_examples"] == []


def test_large_sets_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (100, 4))
    monkeypatch.setattr(id_statistics, "MOST_IDS", 40)
    store = Store(tmp_path)
    found = id_statistics.id_statistics(ids, [str(i) for i in range(100)], 4, store)
    assert found["adaptive_images"] == 10
    assert found["adaptive_bits"] == pytest.approx(adaptive_bits(ids[::10], 4).sum() / 10)
    monkeypatch.setattr(id_statistics, "adaptive_bits", None)  # it is in the store
    assert id_statistics.id_statistics(ids, [str(i) for i in range(100)], 4, store) == found


def test_a_result_has_them(photographs: Path, tmp_path: Path) -> None:
    result = lactok.evaluate("toy", dataset=photographs, metrics="psnr", resolution=32, out=tmp_path / "out")
    content = json.loads((result.folder / "result.json").read_text())
    ids, samples = id_statistics.stored_ids(result.folder) or (np.zeros(0), [])
    assert content["ids"]["adaptive_images"] == 70 == len(samples)
    assert content["ids"] == id_statistics.id_statistics(ids, samples, 64)
    assert content["ids"]["order0_bits"] <= content["tokenizer"]["bits"] + 1
    before = (result.folder / "result.json").read_bytes()
    again = lactok.evaluate("toy", dataset=photographs, metrics="psnr", resolution=32, out=tmp_path / "out")
    assert (again.folder / "result.json").read_bytes() == before
    plain = lactok.evaluate("identity", dataset=photographs, metrics="psnr", resolution=32, out=tmp_path / "out")
    assert "ids" not in json.loads((plain.folder / "result.json").read_text())
    (result.folder / "tokens.npz").write_bytes(b"no")
    with pytest.raises(UserError, match=r"tokens\.npz is damaged"):
        id_statistics.stored_ids(result.folder)
