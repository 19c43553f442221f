"""Keys of the store cover all that changes the last bits of what a machine computes, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import torch

from lactok.evaluation import config, datasets, protocol
from lactok.evaluation.config import Run
from lactok.evaluation.reconstruction import reference_key
from lactok.evaluation.sources import TokenizerSource


def test_keys_on_the_cpu_cover_threads_where_a_network_computes(photographs: Path) -> None:
    """What reference rows and metrics without a network compute does not depend on the number of threads."""
    samples = datasets.get(str(photographs)).samples[:2]
    one, two = (Run(protocol.get("square-256", 64, "psnr,ssim"), threads=n) for n in (1, 2))
    network, codec = TokenizerSource("llamagen-vq16-tiny"), TokenizerSource("jpeg")
    assert network.key(samples, one) != network.key(samples, two)
    assert codec.key(samples, one) == codec.key(samples, two) == codec.key(samples, replace(one, batch_size=3))
    assert network.key(samples, one) == network.key(samples, replace(one, batch_size=3))
    assert one.scores_key == one.scoring_key == two.scores_key
    lpips = (("lpips", "0"),)
    assert replace(one, networks=lpips).scores_key != replace(two, networks=lpips).scores_key
    assert replace(one, networks=lpips).scoring_key == replace(two, networks=lpips).scoring_key
    assert one.place(networks=False) == "cpu"


def test_threads_left_to_torch_are_settled_when_the_run_begins() -> None:
    run_of = Run(protocol.get("square-256"))
    assert run_of.threads == torch.get_num_threads()
    assert run_of == replace(run_of, threads=torch.get_num_threads())


def test_keys_on_a_gpu_cover_what_changes_its_last_bits(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = datasets.get(str(photographs)).samples[:2]
    base = Run(protocol.get("square-256", 64, "psnr"), device="cuda", batch_size=8, threads=1)
    source = TokenizerSource("llamagen-vq16-tiny")
    ids, scores = source.key(samples, base), reference_key(samples, base)
    assert source.key(samples, replace(base, device="cuda:1")) == ids
    assert source.key(samples, replace(base, threads=2)) == ids
    assert source.key(samples, replace(base, batch_size=4)) != ids
    assert reference_key(samples, replace(base, batch_size=4)) == scores  # metrics have a batch of their own
    assert source.key(samples, replace(base, device="mps")) != ids
    with monkeypatch.context() as patch:
        patch.setattr(config, "version", lambda name: "0.0" if name == "torch" else metadata.version(name))
        assert source.key(samples, base) != ids
        assert reference_key(samples, base) != scores
    with monkeypatch.context() as patch:
        patch.setattr(config, "device_name", lambda name: "another card")
        assert source.key(samples, base) != ids
        assert reference_key(samples, base) != scores


def test_keys_of_photographs_features_cover_how_references_are_rounded(photographs: Path) -> None:
    """Features are those of the pixels that outputs are compared with; see `Score.references`."""
    samples = datasets.get(str(photographs)).samples[:2]
    exact = Run(protocol.get("square-256", 64, "psnr"))
    score = exact.protocol.score
    rounded = replace(score, rounding="seed-voken", references="rounded")
    other = replace(score, rounding="truncate")
    keys = [reference_key(samples, replace(exact, protocol=replace(exact.protocol, score=s))) for s in (rounded, other)]
    assert keys[0] != reference_key(samples, exact)
    assert keys[1] == reference_key(samples, exact)
