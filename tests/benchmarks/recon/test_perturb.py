"""Ids that are replaced by near codes: how they are chosen, and the row of their reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lactok
from benchmarks.recon import perturb
from lactok.errors import WrongValue
from lactok.evaluation.id_statistics import stored_ids
from lactok.evaluation.perturbed_ids import nearest_codes, perturbed
from lactok.nn.quantize import FSQ


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        perturb.main(words)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("codes", [torch.randn(200, 8, generator=torch.manual_seed(0)), FSQ((5, 5, 8)).codes()])
def test_replaced_ids_are_near_and_as_many_as_asked_for(codes: torch.Tensor) -> None:
    ids = torch.randint(0, len(codes), (40, 64), generator=torch.manual_seed(1))
    seeds = torch.arange(40)
    found = perturbed(ids, codes, 0.25, 10, seeds)
    distance = torch.cdist(codes.double(), codes.double())
    nearer = (distance[ids] < distance[ids, found][..., None] - 1e-9).sum(
        -1
    )  # codes that are nearer than the drawn one
    assert nearer.max() == 9 or len(distance.unique()) < 200  # equally near codes share a place
    assert nearer.max() <= 9
    changed = (found != ids).double().mean()
    assert abs(changed - 0.25 * 0.9) < 0.03
    assert torch.equal(perturbed(ids[7:9], codes, 0.25, 10, seeds[7:9]), found[7:9])
    assert torch.equal(perturbed(ids, codes, 0.0, 10, seeds), ids)
    with pytest.raises(WrongValue, match="the codebook has"):
        perturbed(ids, codes, 0.5, len(codes) + 1, seeds)


def test_a_code_is_the_nearest_to_itself_even_beside_its_double() -> None:
    codes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert nearest_codes(torch.tensor([0, 1, 2]), codes, 2).tolist() == [[0, 1], [1, 0], [2, 0]]


@pytest.mark.slow
def test_the_row_of_perturbed_ids_is_worse_and_kept_apart(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ("--tokenizers", "llamagen-vq16-tiny", "--dataset", str(photographs), "--limit", "2", "--metrics", "psnr")
    assert run(*common, "--out", str(out), "--share", "0.75", "--nearest", "50") == 0
    assert "llamagen-vq16-tiny+perturbed@share=0.75,nearest=50" in capsys.readouterr().out
    found = {r.label: r for r in lactok.load_results(out).recon}
    own, other = found["llamagen-vq16-tiny"], found["llamagen-vq16-tiny+perturbed@share=0.75,nearest=50"]
    assert own["psnr"].value is not None
    assert other["psnr"].value is not None
    assert other["psnr"].value < own["psnr"].value
    ids = [stored_ids(result.folder) for result in (own, other)]
    assert ids[0] is not None
    assert ids[1] is not None
    assert 0.5 < np.mean(ids[0][0] != ids[1][0]) < 0.9


def test_what_cannot_be_perturbed_is_told_in_a_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--dataset", str(photographs), "--limit", "2", "--metrics", "psnr", "--resolution", "32")
    for words, why in (
        (("--tokenizers", "toy", "--share", "2"), "--share 2: more than 0 and at most 1"),
        (("--tokenizers", "toy", "--nearest", "1"), "--nearest 1"),
        (("--tokenizers", "resize-8"), "has no ids that could be perturbed"),
        (("--tokenizers", "toy"), "has no single codebook of vectors"),
    ):
        assert run(*words, *common, "--out", str(tmp_path / "out")) in (2, 3)
        shown = capsys.readouterr()
        assert why in shown.err + shown.out
