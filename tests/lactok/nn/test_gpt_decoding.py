"""Decoding by a GPT against the plain loop of the official code, and each of the ways in which it saves work."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.speed import reference_generate
from lactok.errors import UserError
from lactok.nn import few_rows
from lactok.nn.gpt import GPT, GPTConfig, visible
from lactok.nn.gpt_decoding import CAPTION, Decoder, State, Step, log_weights
from lactok.nn.gpt_graphs import GraphDecoder, length_read
from lactok.nn.token_sampling import Sampling, chooser, draw, filtered, waiting_times

SHAPE = GPTConfig(64, 3, 4, 96, 200, 32, 120, 144)
SEEDS = torch.tensor([3, 5, 7])


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(SHAPE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def features() -> Tensor:
    return torch.randn(3, 120, 32, generator=torch.Generator().manual_seed(1))


MASK = (torch.arange(120) >= torch.tensor([[100], [61], [119]])).int()


def drawn(sampling: Sampling, seeds: Tensor = SEEDS) -> Callable[[Step], Tensor]:
    """Return the function that draws ids as the generators do."""
    return lambda step: draw(filtered(step.logits, sampling), waiting_times(seeds, 200, step.number))


def fast(decoder: Decoder, features: Tensor, mask: Tensor | None, sampling: Sampling, seeds: Tensor = SEEDS) -> Tensor:
    with torch.inference_mode():
        return decoder.read_and_generate(features, mask, seeds, sampling)


class Eager(GraphDecoder):
    """A graph decoder without a GPU: what would be captured is done again."""

    def _captured(self, state: State, end: int) -> Callable[[], Tensor]:
        return lambda: self._step(state, end)


@pytest.mark.parametrize("kind", [Decoder, Eager])
@pytest.mark.parametrize("mask", [MASK, None], ids=["padded", "whole"])
@pytest.mark.parametrize(("guidance", "interval"), [(1.0, -1), (2.0, -1), (5.0, 3)])
def test_ids_are_those_of_the_plain_loop(
    model: GPT, features: Tensor, mask: Tensor | None, guidance: float, interval: int, kind: type[Decoder]
) -> None:
    sampling = Sampling(guidance, 1.0, 50, interval=interval)
    expected = reference_generate.decode(model, features, mask, guidance, drawn(sampling), interval)
    assert fast(kind(model), features, mask, sampling).equal(expected)
    assert len(expected.unique()) > 50


@pytest.mark.parametrize("kind", [Decoder, Eager])
def test_predictions_that_overflow_are_an_error_and_spoil_no_later_image(
    model: GPT, features: Tensor, kind: type[Decoder]
) -> None:
    sampling, decoder = Sampling(2.0, 1.0, 50), kind(model)
    expected = fast(decoder, features, MASK, sampling)
    overflowed = features.clone()
    overflowed[1, 119] = torch.inf
    with pytest.raises(UserError, match="the predictions of ids are not finite in float32"):
        fast(decoder, overflowed, MASK, sampling)
    assert fast(decoder, features, MASK, sampling).equal(expected)


def test_greedy_ids(model: GPT, features: Tensor) -> None:
    expected = reference_generate.decode(model, features, MASK, 3.0, lambda step: step.logits.argmax(-1))
    prepared = copy.deepcopy(model)
    few_rows.prepare(prepared)
    assert fast(Decoder(prepared), features, MASK, Sampling(3.0, 0.0)).equal(expected)


def test_decoding_is_the_whole_forward_pass(model: GPT, features: Tensor) -> None:
    ids = torch.randint(200, (3, 144), generator=torch.Generator().manual_seed(2))
    steps: list[Tensor] = []

    def choose(step: Step) -> Tensor:
        steps.append(step.logits)
        return ids[:, step.number]

    decoder = Decoder(model)
    decoder.decode(decoder.prefix(features, MASK), None, 1.0, choose)
    logits = model(features, ids[:, :-1], visible(MASK, SHAPE, 3))[:, 119:]
    assert torch.allclose(torch.stack(steps, 1), logits, atol=1e-5)


def test_half_precision_errs_no_more_than_the_plain_loop(model: GPT, features: Tensor) -> None:
    exact: list[Tensor] = []
    ids = reference_generate.decode(model, features, MASK, 1.0, lambda s: exact.append(s.logits) or s.logits.argmax(-1))  # type: ignore[func-returns-value]
    half = copy.deepcopy(model)
    half.compute_in(torch.bfloat16)
    plain: list[Tensor] = []
    reference_generate.decode(half, features, MASK, 1.0, lambda s: plain.append(s.logits) or ids[:, s.number])  # type: ignore[func-returns-value]
    few_rows.prepare(half)
    ours: list[Tensor] = []
    decoder = Decoder(half)
    decoder.decode(
        decoder.prefix(features, MASK),
        None,
        1.0,
        lambda s: ours.append(s.logits) or ids[:, s.number],  # type: ignore[func-returns-value]
    )

    def error(logits: list[Tensor]) -> float:
        return float((torch.stack(logits) - torch.stack(exact)).square().mean().sqrt())

    assert 0 < error(ours) < 1.1 * error(plain)


def test_an_image_depends_on_its_caption_and_seed_alone(model: GPT, features: Tensor) -> None:
    sampling = Sampling(2.0, 1.0, 50)
    decoder = Eager(model)  # whose states are used again
    together = fast(decoder, features, MASK, sampling)
    for row in (2, 0, 1):
        alone = fast(decoder, features[row : row + 1], MASK[row : row + 1], sampling, SEEDS[row : row + 1])
        assert alone[0].equal(together[row])


def test_states_and_graphs_of_the_oldest_number_of_rows_go(model: GPT, features: Tensor) -> None:
    decoder = Eager(model)
    for rows in (1, 2, 3):
        fast(decoder, features[:rows], MASK[:rows], Sampling(2.0, 1.0, 50), SEEDS[:rows])
    assert list(decoder._states) == [2, 4, 6]
    fast(decoder, features[:1], MASK[:1], Sampling(1.0, 1.0, 50), SEEDS[:1])
    assert list(decoder._states) == [4, 6, 1]
    assert {rows for rows, _ in decoder._graphs} == {4, 6, 1}
    assert {end for _, end in decoder._graphs} == {64, 128, 146}


def test_a_step_can_be_traced_for_compilation(model: GPT, features: Tensor) -> None:
    sampling = Sampling(2.0, 1.0, 50)
    decoder = Eager(model)
    expected = fast(decoder, features, MASK, sampling)
    decoder.compile("aot_eager")
    assert fast(decoder, features, MASK, sampling).equal(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_weight_of_a_caption_is_its_length(dtype: torch.dtype) -> None:
    counts = torch.arange(121.0)
    found = log_weights(counts, dtype)
    assert found.shape == (121, CAPTION)
    assert torch.allclose(found.double().exp().sum(-1), counts.double(), rtol=3e-4)


@pytest.mark.parametrize("sampling", [Sampling(2.0, 1.0, 50), Sampling(2.0, 0.0)], ids=["drawn", "greedy"])
def test_draws_that_threads_prepare_are_the_same(sampling: Sampling) -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    found = []
    for device in ("cpu", "cuda"):
        with chooser(SEEDS, 40, 9, sampling, torch.device(device)) as choose:
            found.append(torch.stack([choose(logits, number) for number in range(9)]))
    assert found[0].equal(found[1])


def test_lengths_that_a_graph_reads_hold_what_is_needed() -> None:
    assert all(needed <= length_read(needed, 258) <= 258 for needed in range(1, 259))


@pytest.mark.parametrize("rows", [1, 2, 16])
def test_layers_for_few_rows(rows: int) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(96, 160, bias=False).bfloat16(), torch.randn(rows, 96).bfloat16()
    assert torch.allclose(few_rows.TransposedLinear(layer)(x), layer(x), rtol=1e-2, atol=1e-2)
    assert torch.equal(few_rows.TransposedLinear(layer)(x[None]), layer(x[None]))
    with_bias = torch.nn.Sequential(torch.nn.Linear(4, 4)).bfloat16()
    few_rows.prepare(with_bias)
    assert type(with_bias[0]) is torch.nn.Linear


def test_a_joined_feed_forward_layer(model: GPT) -> None:
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    layer = model.blocks[0].feed_forward
    joined = few_rows.JoinedFeedForward(layer)
    assert torch.allclose(joined(x), layer(x), atol=1e-6)
    assert sum(p.numel() for p in joined.parameters()) == sum(p.numel() for p in layer.parameters())
