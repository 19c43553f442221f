"""Memory that is computed on the meta device is what a small network really takes on a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.allocated import Allocated, nbytes, peak_of
from benchmarks.speed.footprint import generator_memory, tokenizer_memory, weights_of
from benchmarks.speed.memory import main
from lactok import registry
from lactok.nn.gpt import GPT, GPTConfig
from lactok.nn.gpt_decoding import CAPTION, Decoder
from lactok.nn.t5 import T5Config, T5Encoder

EXACT = 0.03  # share by which the tensors of a run on the CPU may differ from those on the meta device
KERNELS = 0.35  # share by which the allocator may have given more: what kernels of the CPU take inside an operation


def measured_peak(call: Callable[[], object]) -> int:
    """Return the most bytes that a call takes at once on the CPU, by the allocator's own record."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        result = call()
    del result
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def assert_takes(computed: int, call: Callable[[], object], given: int = 0) -> None:
    """The tensors take what was computed, and the allocator gave that or, for its kernels, a limited share more."""
    assert computed == pytest.approx(peak_of(call) + given, rel=EXACT)
    real = measured_peak(call) + given
    assert computed / (1 + EXACT) <= real <= computed * (1 + KERNELS), (computed, real)


@pytest.mark.parametrize("name", ["llamagen-vq16-tiny", "titok-s128-tiny", "lactok-h-tiny", "flextok-tiny@steps=2"])
def test_a_tokenizer_takes_what_is_computed(name: str) -> None:
    computed = {phase.name: phase for phase in tokenizer_memory(name, 2).phases}
    tokenizer = registry.build(name, "cpu").requires_grad_(False)
    seeds, side = torch.zeros(2, dtype=torch.int64), tokenizer.spec.input_size or 0
    image = torch.rand(2, 3, side, side)
    ids = torch.zeros(2, tokenizer.spec.tokens or 0, dtype=torch.int64)
    calls = {
        "encode": (lambda: tokenizer._encode(image, seeds), image),
        "decode": (lambda: tokenizer._decode(ids, seeds), ids),
    }
    for phase, (call, given) in calls.items():
        assert_takes(computed[phase].activations, call, nbytes([given]))
        assert computed[phase].weights == weights_of(tokenizer)


def test_a_transformer_with_its_cache_takes_what_is_computed() -> None:
    config = GPTConfig(64, 2, 4, 128, 512, 32, 8, 64)

    def ids(device: str) -> Callable[[], object]:
        model = GPT(config).to(device).eval()
        features = torch.zeros(2, 8, 32, device=device)
        zero = torch.zeros(2, dtype=torch.int64, device=device)

        def decode() -> object:
            decoder = Decoder(model)
            prefix, without = decoder.prefix(features, None), decoder.without_caption(None, 2)
            return decoder.decode(prefix, without, 2.0, lambda step: zero + 0 * int(step.logits.shape[0]))

        return decode

    torch.manual_seed(0)
    assert_takes(peak_of(ids("meta")), ids("cpu"))


def test_a_text_encoder_takes_what_is_computed() -> None:
    config = T5Config(64, 2, 4, 16, 128, 100)

    def features(device: str) -> Callable[[], object]:
        encoder = T5Encoder(config).to(device).eval()
        ids = torch.ones(2, 16, dtype=torch.int64, device=device)
        return lambda: encoder(ids, ids)

    assert_takes(peak_of(features("meta")), features("cpu"))


def test_tensors_count_while_they_live() -> None:
    with Allocated() as allocated:
        first = torch.zeros(1000, device="meta")
        view = first[:10]
        del first
        assert allocated.live == 4000  # the view keeps it
        del view
        assert allocated.live == 0
        torch.zeros(500, device="meta")
        kept = torch.zeros(10, device="meta")
        kept.add_(1)
        assert allocated.live == 40
    assert allocated.peak == 4000
    assert nbytes([kept, kept[:3]]) == 40


@pytest.mark.slow
def test_full_sizes_take_no_memory(tmp_path: Path) -> None:
    """The text encoder is gone when the transformer decodes, and nothing of the 20 GB is allocated."""
    found = []

    def compute() -> None:
        found.append(generator_memory("lactokgen-t-star", 1))

    assert measured_peak(compute) < 100e6
    memory = found[0]
    text, ids, pixels = memory.phases
    t5 = text.weights - ids.weights
    assert t5 == pytest.approx(4.9e9, rel=0.01)
    assert ids.weights == pixels.weights
    assert memory.peak is text
    assert ids.peak < text.weights
    # keys and values of 36 layers, with and without the caption, which takes CAPTION positions
    cache = 2 * 36 * 2 * (CAPTION + 256) * 1280 * 4
    assert cache < ids.activations < 1.5 * cache
    with pytest.raises(SystemExit) as stop:
        main(["--tokenizers", "lactok-t", "--generators", "titok-b64-gen", "--json", str(tmp_path / "a.json")])
    assert stop.value.code == 0
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [row["name"] for row in rows] == ["lactok-t", "titok-b64-gen"]
    assert rows[0]["peak"] > 13e9


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--tokenizers", ""], 2, "no name of a tokenizer or generator"),
        (["--generators", "sdxl"], 3, "not computed: sdxl: its library builds its network from its files"),
        (["--tokenizers", "jpeg"], 3, "not computed: jpeg: no network that makes ids"),
        (["--tokenizers", "lactok-q"], 2, "lactok-q"),
        (["--batch-size", "0"], 2, "--batch-size 0"),
        (["--json", "a.txt"], 2, "--json"),
    ],
)
def test_mistakes(given: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(given)
    printed = capsys.readouterr()
    assert (stop.value.code, said in printed.out + printed.err) == (code, True), printed
