"""Several tokenizers over the same shards: the same bytes as one by one, and one that fails loses no other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lactok.evaluation.joint as joint
from lactok import images
from lactok.evaluation import measuring
from lactok.evaluation.cluster import Cluster
from lactok.evaluation.config import Execution, Run, Settings
from lactok.evaluation.datasets import Dataset, named_by_content, samples_under
from lactok.evaluation.reconstruction import ReconstructionWork
from lactok.evaluation.shard_scoring import Aside
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import Store
from lactok.images import Prepare, prepare
from lactok.metrics.registry import METRICS, metric

METRICS_USED = "psnr,ssim,ms_ssim,psnr_pooled"


@pytest.fixture
def photographs(tmp_path: Path) -> Dataset:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(70):  # two shards
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((96, 72)).save(folder / f"{i:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return named_by_content("photographs", samples_under(folder))


def stored(out: Path) -> dict[str, bytes]:
    """Return the files of a store and of its results by name, without those that hold times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json" and "locks" not in path.parts
    }


def measured(names: list[str], data: Dataset, out: Path, **more: object) -> measuring.Outcome:
    run = Settings(metrics=METRICS_USED, resolution=176, threads=1).run()
    sources = [lambda name=name: TokenizerSource(name) for name in names]
    return measuring.evaluate_sources(sources, data, run, Execution(out, **more))  # type: ignore[arg-type]


NAMES = ["resize-8", "jpeg", "identity"]


def test_sources_together_give_the_bytes_of_each_alone(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = measured(NAMES, photographs, tmp_path / "together", pictures=3)
    for name in NAMES:
        measured([name], photographs, tmp_path / "alone", pictures=3)
    assert not together.failed
    assert len(together.results) == len(NAMES)
    assert stored(tmp_path / "together") == stored(tmp_path / "alone")


def test_references_are_prepared_and_their_part_of_metrics_computed_once(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    parts: list[int] = []

    def part(references: torch.Tensor, device: str = "cpu") -> torch.Tensor:
        parts.append(len(references))
        return references.double().mean((1, 2, 3))

    try:

        @metric("lighter", title="lighter", higher=True, reference_part=part)
        def lighter(references: torch.Tensor, outputs: torch.Tensor, device: str, known: torch.Tensor) -> torch.Tensor:
            return outputs.double().mean((1, 2, 3)) - known

        monkeypatch.setattr("lactok.evaluation.photographs.images.prepare", counted(opened))
        run = Settings(metrics="lighter", resolution=64, threads=1).run()
        sources = [TokenizerSource(name) for name in NAMES]
        outcome = measuring.evaluate_sources(sources, photographs, run, Execution(tmp_path / "out", pictures=0))
    finally:
        METRICS.registered.pop("lighter", None)
    assert not outcome.failed
    assert sum(parts) == 70
    assert len(opened) == 70


def counted(calls: list[object]) -> Callable[..., np.ndarray]:
    def counting(image: Image.Image, how: Prepare) -> np.ndarray:
        calls.append(image)
        return prepare(image, how)

    return counting


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2]])
def test_photographs_and_outputs_are_let_go_with_their_shard(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """At once, not when Python looks for cycles, which it does the more seldom the larger a data set is."""
    kept: list[weakref.ref[object]] = []
    usual_outputs = TokenizerSource.outputs

    def prepared(image: Image.Image, how: Prepare) -> np.ndarray:
        found = prepare(image, how)
        kept.append(weakref.ref(found))
        return found

    def outputs(self: TokenizerSource, *given: object) -> tuple[torch.Tensor, torch.Tensor]:
        found = usual_outputs(self, *given)  # type: ignore[arg-type]
        kept.append(weakref.ref(found[0]))
        return found

    monkeypatch.setattr(images, "prepare", prepared)
    monkeypatch.setattr(TokenizerSource, "outputs", outputs)
    gc.disable()
    try:
        measured(names, photographs, tmp_path / "out")
        assert len(kept) >= 2 * (len(photographs.samples) - 1)  # one cannot be read
        assert not [each for each in kept if each() is not None]
    finally:
        gc.enable()


def test_one_that_fails_loses_no_other(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = TokenizerSource.outputs

    def outputs(self: TokenizerSource, *given: object) -> object:
        if self.name == "resize-8":
            raise RuntimeError("broken adapter")
        return usual(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenizerSource, "outputs", outputs)
    outcome = measured(NAMES, photographs, tmp_path / "out")
    assert outcome.failed == {"resize-8": "RuntimeError: broken adapter"}
    assert [result.label for result in outcome.results] == NAMES[1:]


def test_workers_and_parts_give_the_same_bytes(photographs: Dataset, tmp_path: Path) -> None:
    measured(NAMES[:2], photographs, tmp_path / "one")
    first = measured(NAMES[:2], photographs, tmp_path / "parts", part=(0, 2))
    assert not first.results
    assert not first.failed
    second = measured(NAMES[:2], photographs, tmp_path / "parts", part=(1, 2), workers=2)
    assert len(second.results) == 2
    results = [path for path in stored(tmp_path / "one") if path.endswith(("result.json", "records.parquet"))]
    assert results
    for path in results:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "parts" / path).read_bytes()


def test_sources_that_do_not_fit_together_come_one_after_the_other(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[list[str]]] = []
    usual = joint._fitting

    def fitting(works: Sequence[ReconstructionWork], execution: Execution) -> list[list[ReconstructionWork]]:
        found = usual(works, execution)
        groups.append([[work.source.name for work in group] for group in found])
        return found

    monkeypatch.setattr(joint, "_fitting", fitting)
    monkeypatch.setattr(joint, "free_bytes", lambda device: 10)
    outcome = measured(NAMES, photographs, tmp_path / "out")
    assert groups == [[[name] for name in NAMES]]
    assert len(outcome.results) == 3


def test_scoring_aside_gives_the_bytes_of_scoring_in_turn(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(NAMES[:2], photographs, tmp_path / "in turn")
    monkeypatch.setattr("lactok.evaluation.shard_scoring.Aside", lambda device: Aside(device, always=True))
    measured(NAMES[:2], photographs, tmp_path / "aside")
    assert stored(tmp_path / "in turn") == stored(tmp_path / "aside")


def test_a_piece_that_fails_aside_fails_where_its_values_are_asked_for() -> None:
    def fails() -> dict[str, np.ndarray]:
        raise RuntimeError("no memory")

    with Aside("cpu", always=True) as aside:
        first = aside.begin(fails)
        second = aside.begin(lambda: {"x": np.zeros(1)})
        assert second.result().keys() == {"x"}
        with pytest.raises(RuntimeError, match="no memory"):
            first.result()


def test_the_run_of_joint_work_is_that_of_its_sources(photographs: Dataset, tmp_path: Path) -> None:
    run: Run = Settings(metrics="psnr", resolution=64).run()
    works = [ReconstructionWork(TokenizerSource(name), run, Store(tmp_path)) for name in NAMES[:2]]
    shards = list(photographs.shards())
    work = joint.JointWork(tuple(works))
    assert work.run is run
    assert not work.is_finished(shards[0])
    times = joint.finish_jointly(works, shards, Execution(tmp_path))
    assert work.is_finished(shards[0])
    assert times["resize-8"].wall["per-image metrics"] > 0
    assert times["resize-8"].wall["prepare"] > 0


def test_networks_of_one_group_are_let_go_before_the_next(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [TokenizerSource(name) for name in (*NAMES, "resize-12", "resize-16")]
    loaded: list[int] = []
    usual = TokenizerSource.tokenizer

    def tokenizer(self: TokenizerSource, run: Run) -> object:
        found = usual(self, run)
        loaded.append(sum(source._loaded is not None for source in sources))
        return found

    def fitting(works: Sequence[ReconstructionWork], execution: Execution) -> list[list[ReconstructionWork]]:
        return [list(works[:2]), list(works[2:4]), list(works[4:])]

    monkeypatch.setattr(TokenizerSource, "tokenizer", tokenizer)
    monkeypatch.setattr(joint, "_fitting", fitting)
    run = Settings(metrics="psnr", resolution=32, threads=1).run()
    outcome = measuring.evaluate_sources(sources, photographs, run, Execution(tmp_path / "out", pictures=0))
    assert len(outcome.results) == 5
    assert max(loaded) == 2
    assert all(source._loaded is None for source in sources)


def test_two_of_one_name_are_computed_once(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    usual = TokenizerSource.outputs

    def outputs(self: TokenizerSource, references: list[np.ndarray], *given: object) -> object:
        made.append(len(references))
        return usual(self, references, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenizerSource, "outputs", outputs)
    outcome = measured(["jpeg", "jpeg", "resize-8"], photographs, tmp_path / "out", pictures=0)
    assert [result.label for result in outcome.results] == ["jpeg", "jpeg", "resize-8"]
    assert sum(made) == 2 * 70


def test_no_process_is_started_for_what_is_finished(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a worker process")

    measured(NAMES, photographs, tmp_path / "out")
    monkeypatch.setattr("lactok.evaluation.executors.worker_processes", started)
    outcome = measured(NAMES, photographs, tmp_path / "out", workers=2)
    assert not outcome.failed
    assert len(outcome.results) == len(NAMES)


def test_images_that_keep_their_size_are_not_taken_for_small_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    small, box = (Settings(protocol=name).run() for name in ("square-256", "tokbench"))
    needs = [joint._bytes_needed(ReconstructionWork(TokenizerSource("jpeg"), run, store)) for run in (small, box)]
    assert needs[1] == 16 * needs[0]


def test_the_memory_of_a_machine_is_shared_by_the_tasks_that_ray_puts_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Settings(threads=2).run()
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    gpu = replace(run, device="cuda")
    assert joint._sharing(run, Execution(tmp_path, workers=3)) == 3
    assert joint._sharing(run, Execution(tmp_path, cluster=Cluster())) == 8
    assert joint._sharing(run, Execution(tmp_path, cluster=Cluster(resources=(("cpu", 4.0),)))) == 4
    assert joint._sharing(run, Execution(tmp_path, workers=5, cluster=Cluster(workers=5))) == 5
    assert joint._sharing(gpu, Execution(tmp_path, cluster=Cluster())) == 1
    assert joint._sharing(gpu, Execution(tmp_path, cluster=Cluster(resources=(("gpu", 0.5),)))) == 2


def test_pictures_are_made_in_the_arithmetic_of_those_that_were_scored(
    photographs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: list[bool] = []
    usual = TokenizerSource.outputs

    def outputs(self: TokenizerSource, *given: object) -> object:
        exact.append(not torch.backends.cudnn.allow_tf32)
        return usual(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenizerSource, "outputs", outputs)
    measured(["jpeg"], photographs, tmp_path / "out", pictures=0)
    scored = len(exact)
    measured(["jpeg"], photographs, tmp_path / "out", pictures=3)
    assert len(exact) > scored
    assert all(exact)
