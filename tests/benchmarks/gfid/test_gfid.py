"""The gFID suite end to end on features that need no weights: the same bytes however run, mistakes in a line."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import lactok
from baselines.titok_generator import TiTokGenerator
from benchmarks.gfid import __main__ as gfid
from benchmarks.gfid import suite
from benchmarks.gfid.arrays import headers, pictures_of
from lactok import images, registry
from lactok.evaluation import datasets
from lactok.evaluation.results import GfidResult, load_results
from lactok.metrics import precision_recall
from lactok.metrics.frechet import frechet
from lactok.metrics.registry import METRICS
from lactok.nn.inception_checkpoint import INCEPTION_CLASSIFIER
from lactok.nn.maskgit_sampling import MaskGITSampling
from lactok.nn.titok_generator import MaskedTransformerConfig
from lactok.randomness import noise
from lactok.specs import Asset, GeneratorSpec
from lactok.tokenizer import Generator

SPEC = GeneratorSpec("gfid-clouds", "test", "class", 32, "MIT")
STABLE = (".json", ".parquet", ".png", ".md", ".npz")
ABSENT = "the weights fid-inception-classifier are not here (python -m lactok.weights fetch fid-inception-classifier)"


class Clouds(Generator):
    """Noise whose mean is the class."""

    calls = 0

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        type(self).calls += len(conditions)
        mean = torch.tensor([int(c) / 1000 for c in conditions]).view(-1, 1, 1, 1)
        return mean + 0.1 * torch.nn.functional.interpolate(noise(seeds, (3, 4, 4), "start"), 32)


class Scorer:
    """Stands for Inception: 2048 numbers of an image that are cheap to compute."""

    features: ClassVar[dict[str, object]] = {"inception_tf1": None}
    dimensions: ClassVar[dict[str, int]] = {"inception_tf1": 2}

    def describe(self, pictures: Tensor) -> dict[str, np.ndarray]:
        return {"inception_tf1": features(pictures)}


def features(pictures: Tensor) -> np.ndarray:
    """(N, 3, H, W) uint8 -> (N, 2048) float32."""
    return torch.nn.functional.interpolate(pictures.float(), (32, 32)).flatten(1)[:, :2048].numpy()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy generator, shards of four pictures, features without a network, no classifier."""
    monkeypatch.setattr(registry.GENERATORS, "registered", dict(registry.GENERATORS.registered))
    lactok.register_generator(SPEC)(Clouds)
    lactok.register_generator(replace(SPEC, name="gfid-texts", condition="text"))(type("Texts", (Clouds,), {}))
    monkeypatch.setattr(datasets, "SHARD", 4)
    monkeypatch.setattr("lactok.evaluation.reconstruction.scorer_of", lambda run: Scorer())

    def with_networks(asked: suite.Asked, named: bool) -> suite.Asked:
        return replace(asked, networks=(("fid-inception", "0" * 64),), absent={"inception_score": ABSENT})

    monkeypatch.setattr(suite, "with_networks", with_networks)
    Clouds.calls = 0


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(12):
        photograph(i).save(folder / f"{i:03}.png")
    return folder


def run(out: Path, *words: object, code: int = 0) -> tuple[GfidResult, ...]:
    with pytest.raises(SystemExit) as ended:
        gfid.main([*map(str, words), "--out", str(out), "--threads", "1"])
    assert ended.value.code == code
    return load_results(out).gfid if list(out.glob("*/result.json")) else ()


def stable_bytes(out: Path) -> dict[str, bytes]:
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.suffix in STABLE and p.name != "run.json"]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


MADE = ("--generators", "gfid-clouds", "--samples", "1", "--limit", "10")


class TestGenerator:
    def test_a_result_says_what_was_measured(
        self, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (result,) = run(tmp_path / "out", *MADE, "--reference", photographs, "--npz", "--pictures", "3")
        assert (result.suite, result.label, result.n, result.limit) == ("gfid", "gfid-clouds", 10, 10)
        assert result.name == (
            f"gfid-clouds__gfid-{result.data.reference.name}__{result.data.protocol.prepare}-"
            f"{result.data.protocol.score}__limit10__samples1"
        )
        assert list(result.metrics) == ["fid", "inception_score", "precision", "recall"]
        assert result["fid"].references == 12
        assert result["fid"].reliable is False
        assert result["inception_score"].reason == ABSENT
        assert result.data.reference.kind == "photographs"
        assert result.data.protocol.definition.prepare == {
            "resolution": 32,
            "crop": "adm",
            "version": 1,
            "upright": False,
        }
        assert result.seconds("generate")
        records = result.records
        assert records["class"].tolist() == [int(i) % 1000 for i in records["id"]]
        assert len(set(records["seed"])) == len(set(records["sha256"])) == 10
        pictures = sorted((result.folder / "images").glob("*.png"))
        assert len(pictures) == 3
        assert all(re.fullmatch(r"\d{8}-class\d{3}\.png", path.name) for path in pictures)
        with np.load(result.folder / "samples.npz", allow_pickle=False) as stored:
            assert stored["arr_0"].shape == (10, 32, 32, 3)
            assert stored["arr_0"].dtype == np.uint8
            assert stored["arr_1"].tolist() == records["class"].tolist()
            place = {name: i for i, name in enumerate(records["id"])}
            for path in pictures:
                np.testing.assert_array_equal(np.asarray(Image.open(path)), stored["arr_0"][place[path.name[:8]]])
            ours = features(torch.from_numpy(stored["arr_0"]).permute(0, 3, 1, 2))
        how = images.Prepare(32, "adm", upright=False)
        prepared = [images.prepare(Image.open(p), how) for p in sorted(photographs.glob("*.png"))]
        theirs = features(torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2))
        assert result["fid"].value == pytest.approx(frechet([theirs], [ours]), rel=1e-9)
        assert result["recall"].value == precision_recall.recall([theirs], [ours])
        said = capsys.readouterr().out
        assert "| gfid-clouds |" in said
        assert "seconds of wall time an image" in said
        assert "Published FIDs are of 50000 pictures" in said
        assert f"- under IS: {ABSENT}." in said

    def test_a_reference_of_another_size_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
        np.savez(tmp_path / "r.npz", arr_0=pictures)
        run(tmp_path / "out", *MADE, "--reference", tmp_path / "r.npz")
        said = caplog.text + capsys.readouterr().err
        assert "gfid-clouds are 32 px and the reference's pictures 16 px" in said

    def test_the_same_bytes_in_parts_and_after_a_loss(self, tmp_path: Path, photographs: Path) -> None:
        words = (*MADE, "--reference", photographs, "--npz")
        run(tmp_path / "whole", *words)
        assert Clouds.calls == 10
        run(tmp_path / "whole", *words)
        assert Clouds.calls == 10  # all is in the store
        assert run(tmp_path / "parts", *words, "--part", "2/2") == ()
        run(tmp_path / "parts", *words, "--part", "1/2")
        assert stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "whole")
        for path in sorted((tmp_path / "parts" / "store").rglob("*.npz"))[::2]:
            path.write_bytes(path.read_bytes()[:-100])
        shutil.rmtree(next((tmp_path / "parts").glob("gfid-*")))
        run(tmp_path / "parts", *words)
        assert stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "whole")

    def test_an_interrupted_run_goes_on(
        self, tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = (*MADE, "--reference", photographs)
        whole = run(tmp_path / "whole", *words)
        generate = Clouds._generate

        def interrupted(self: Clouds, conditions: list[int], seeds: Tensor) -> Tensor:
            if type(self).calls == 6:
                raise KeyboardInterrupt
            return generate(self, conditions, seeds)

        Clouds.calls = 0
        monkeypatch.setattr(Clouds, "_generate", interrupted)
        assert run(tmp_path / "out", *words, code=130) == ()
        monkeypatch.setattr(Clouds, "_generate", generate)
        (result,) = run(tmp_path / "out", *words)
        assert Clouds.calls == 6 + 6  # the first shard was kept
        assert result.metrics == whole[0].metrics
        assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "whole")

    def test_a_larger_run_holds_the_smaller_one(self, tmp_path: Path, photographs: Path) -> None:
        (few,) = run(tmp_path / "few", *MADE, "--reference", photographs, "--metrics", "fid")
        more = run(tmp_path / "more", *MADE[:-1], "20", "--reference", photographs, "--metrics", "fid")[0]
        both = few.records.merge(more.records, on="id")
        assert len(both) == 10
        assert both["sha256_x"].tolist() == both["sha256_y"].tolist()

    def test_other_metrics_describe_nothing_again(
        self, tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = (*MADE, "--reference", photographs)
        run(tmp_path / "out", *words, "--metrics", "fid")

        def describe(self: Scorer, pictures: Tensor) -> dict[str, np.ndarray]:
            raise AssertionError("described again")

        monkeypatch.setattr(Scorer, "describe", describe)
        results = run(tmp_path / "out", *words, "--metrics", "all")
        assert [list(r.metrics) for r in results if len(r.metrics) > 1] == [
            ["fid", "inception_score", "precision", "recall", "kid"]
        ]

    def test_what_changed_is_described_again_and_nothing_else(
        self, tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A photograph of the reference redoes its shard; a class, the pictures of that class; a metric, itself."""
        described: list[int] = []
        describe = Scorer.describe

        def counted(self: Scorer, pictures: Tensor) -> dict[str, np.ndarray]:
            described.append(len(pictures))
            return describe(self, pictures)

        monkeypatch.setattr(Scorer, "describe", counted)
        words = ("--generators", "gfid-clouds", "--samples", "6", "--classes", tmp_path / "two.txt")
        (tmp_path / "two.txt").write_text("207\n5\n")
        run(tmp_path / "out", *words, "--reference", photographs)
        assert (Clouds.calls, sum(described)) == (12, 12 + 12)
        photograph(999).save(photographs / "011.png")
        run(tmp_path / "out", *words, "--reference", photographs)
        assert (Clouds.calls, sum(described)) == (12, 24 + 4)
        photographs.rename(tmp_path / "moved")
        run(tmp_path / "out", *words, "--reference", tmp_path / "moved")
        newer = replace(METRICS.get("fid"), version=2)
        with monkeypatch.context() as patched:
            patched.setitem(METRICS.registered, "fid", newer)
            run(tmp_path / "out", *words, "--reference", tmp_path / "moved")
        assert (Clouds.calls, sum(described)) == (12, 28)

    def test_classes_of_a_file(self, tmp_path: Path, photographs: Path) -> None:
        (tmp_path / "two.txt").write_text("207\n\n5\n")
        words = ("--generators", "gfid-clouds", "--classes", tmp_path / "two.txt", "--samples", "3")
        (result,) = run(tmp_path / "out", *words, "--reference", photographs)
        assert result.records["class"].tolist() == [207, 5] * 3
        assert result.dataset.startswith("classes-two-")


class TestFolders:
    def test_pictures_of_a_folder_and_of_an_array_are_the_same(self, tmp_path: Path, photographs: Path) -> None:
        (made,) = run(tmp_path / "made", *MADE, "--reference", photographs, "--npz", "--pictures", "all")
        array = shutil.copy(made.folder / "samples.npz", tmp_path / "theirs.npz")
        folder = tmp_path / "theirs"
        shutil.copytree(made.folder / "images", folder)
        (folder / "index.json").unlink()
        found = [
            run(tmp_path / f"{i}", "--images", p, "--reference", photographs) for i, p in enumerate((array, folder))
        ]
        for (result,) in found:
            assert result.records["sha256"].tolist() == made.records["sha256"].tolist()
            assert result.metrics == made.metrics
            assert result.label == "theirs"
            assert result.data.pictures.generator is None

    def test_a_picture_that_cannot_be_read_is_named(
        self, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        for i in range(6):
            photograph(50 + i, 40, 40).save(folder / f"{i}.png")
        (folder / "2.png").write_bytes(b"not a picture")
        photograph(1, 60, 40).save(folder / "3.png")
        (photographs / "000.png").write_bytes(b"nothing")
        (result,) = run(tmp_path / "out", "--images", folder, "--reference", photographs, "--npz")
        assert result.n == 5
        assert [(s.id, s.reason) for s in result.data.dataset.skipped] == [("2.png", "not an image")]
        assert [s.id for s in result.data.reference.skipped] == ["000.png"]
        assert result["precision"].references == 11
        said = capsys.readouterr()
        assert "left out: 2.png: not an image" in said.out
        assert "left out of the reference: 000.png" in said.out
        assert "1 of 6 pictures are not 40x40: 3.png (60x40)" in said.err
        array = pictures_of(result.folder / "samples.npz", headers(result.folder / "samples.npz", "x"), "x", None)
        assert array.shape == (5, 40, 40, 3)
        for path in folder.iterdir():
            path.write_bytes(b"x")
        run(tmp_path / "none", "--images", folder, "--reference", photographs, code=2)
        assert "no picture can be read; the first, 0.png" in capsys.readouterr().err

    def test_statistics_stand_for_photographs(
        self, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        own = tmp_path / "own.npz"
        (whole,) = run(tmp_path / "whole", *MADE, "--reference", photographs, "--save-statistics", own)
        (result,) = run(tmp_path / "out", *MADE, "--reference", own)
        assert result["fid"].value == pytest.approx(whole["fid"].value, rel=1e-6)
        assert result["fid"].references == 12
        assert result.data.reference.kind == "statistics"
        assert "needs the reference's pictures" in str(result["precision"].reason)
        both = tmp_path / "both.npz"
        with np.load(own) as stored:
            arrays = np.zeros((9, 32, 32, 3), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None, None]
            np.savez_compressed(both, arr_0=arrays, mu=stored["mu"], sigma=stored["sigma"], mu_s=np.zeros(3))
        (result,) = run(tmp_path / "both", *MADE, "--reference", both)
        assert result.data.reference.kind == "statistics and pictures"
        assert result["fid"].value == pytest.approx(whole["fid"].value, rel=1e-6)
        assert result["recall"].references == 9
        run(tmp_path / "x", *MADE, "--reference", own, "--save-statistics", tmp_path / "y.npz", code=2)
        assert "--save-statistics: the reference holds statistics only" in capsys.readouterr().err


class TestDryRun:
    def test_it_makes_nothing(self, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = (*MADE, "--reference", photographs, "--npz", "--dry-run")
        run(tmp_path / "out", *words)
        said = capsys.readouterr().out
        assert "gfid-clouds: 10 of 10 pictures to make (1000 classes); time unknown" in said
        assert "inception_score" in said
        assert not (tmp_path / "out").exists()
        assert Clouds.calls == 0
        run(tmp_path / "out", *words[:-1])
        run(tmp_path / "out", *words)
        assert re.search(r"0 of 10 pictures to make .* about 0\.0 h at .* s an image", capsys.readouterr().out)


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((), "name either --generators NAME,... or --images DIR"),
            (
                ("--generators", "gfid-texts", "--reference", "."),
                "it is measured by `python -m benchmarks.geneval",
            ),
            (("--generators", ",", "--reference", "."), "--generators is empty; name some"),
            (("--generators", "gfid-cloud", "--reference", "."), "unknown generator 'gfid-cloud'"),
            (("--generators", "gfid-clouds"), "FID is a distance to a reference: name it by --reference"),
            (("--generators", "gfid-clouds", "--reference", "no/where"), "--reference no/where: no such folder"),
            (("--generators", "gfid-clouds", "--reference", "no.npz"), "--reference no.npz: no such file"),
            (("--generators", "gfid-clouds", "--reference", ".", "--metrics", "psnr"), "unknown metric of gfid 'psnr'"),
            (("--generators", "gfid-clouds", "--reference", ".", "--samples", "0"), "--samples 0: 1 or more"),
            (("--images", ".", "--reference", ".", "--seed", "1"), "--seed does not go with --images"),
            (("--images", "no.npz", "--reference", "."), "--images no.npz: no such file"),
            (("--images", "no/where", "--reference", "."), "--images: no such folder no/where"),
        ],
    )
    def test_a_line_each(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
    ) -> None:
        run(tmp_path / "out", *words, code=2)
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("line", ["1000", "-1", "cat", "1.5", "٣", "99999999999999999999"])
    def test_a_class_that_is_none(
        self, tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str], line: str
    ) -> None:
        (tmp_path / "c.txt").write_text(f"7\n{line}\n", encoding="utf-8")
        words = (*MADE, "--reference", photographs, "--classes", tmp_path / "c.txt")
        run(tmp_path / "out", *words, code=2)
        assert re.search(r"c\.txt.*line 2: .* is no ImageNet class; write a number", capsys.readouterr().err)
        (tmp_path / "c.txt").write_text("\n")
        run(tmp_path / "out", *words, code=2)
        assert "no class in it" in capsys.readouterr().err

    def test_a_generator_without_weights_does_not_stop_the_others(
        self, tmp_path: Path, photographs: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lactok.register_generator(replace(SPEC, name="gfid-unhad", assets=(Asset("unhad", "MIT"),)))(
            type("Unhad", (Clouds,), {})
        )
        words = ("--generators", "gfid-unhad,gfid-clouds", *MADE[2:], "--reference", photographs)
        (result,) = run(tmp_path / "out", *words, code=3)
        assert result.label == "gfid-clouds"
        assert "not run: gfid-unhad: weights not found: unhad" in capsys.readouterr().out


def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite as it is, with Inception, on small shards."""
    monkeypatch.undo()
    monkeypatch.setattr(registry.GENERATORS, "registered", dict(registry.GENERATORS.registered))
    monkeypatch.setattr(datasets, "SHARD", 4)


@pytest.mark.slow
def test_workers_have_generators_of_their_own(
    tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real(monkeypatch)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom lactok import Generator, GeneratorSpec\n\n\n"
        "class Grey(Generator):\n"
        "    spec = GeneratorSpec('grey', 'test', 'class', 32, 'MIT')\n\n"
        "    def _generate(self, conditions, seeds):\n"
        "        levels = torch.tensor([c / 1000 for c in conditions]) + (seeds % 7) / 100\n"
        "        return levels.view(-1, 1, 1, 1).expand(-1, 3, 32, 32)\n"
    )
    words = ("--generators", f"{tmp_path}/mine.py:Grey", "--samples", "1", "--limit", "8", "--metrics", "fid,recall")
    for out, workers in (("one", "1"), ("two", "2")):
        run(tmp_path / out, *words, "--reference", photographs, "--workers", workers)
    assert stable_bytes(tmp_path / "one") == stable_bytes(tmp_path / "two")


TITOK = MaskedTransformerConfig("uvit", 32, 2, 2, 48, 128, 4096, 1000)


@pytest.mark.slow
def test_a_small_titok_generator_and_the_classifier(
    tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real(monkeypatch)
    tokenizer = registry.tokenizer_spec("titok-s128-tiny")
    config = replace(TITOK, tokens=int(tokenizer.tokens or 0), codebook_size=int(tokenizer.codebook_size or 0))
    spec = GeneratorSpec(
        "titok-s128-tiny-gen",
        "titok",
        "class",
        256,
        "MIT",
        tokenizer="titok-s128-tiny",
        assets=(Asset("tiny-gen", "MIT"),),
    )
    how = MaskGITSampling(2, 2.0, "power-cosine", temperature=2.0)
    registry.register_generator(spec, config=config, how=how)(TiTokGenerator)
    torch.manual_seed(0)
    (tmp_path / "weights").mkdir()
    state = TiTokGenerator(spec, config, how).get_submodule("model").state_dict()
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "weights" / "tiny-gen.safetensors")
    classifier = torch.randn(1008, 2048) * 0.1
    save_file({"weight": classifier}, tmp_path / "weights" / f"{INCEPTION_CLASSIFIER.name}.safetensors")
    words = (
        "--generators",
        "titok-s128-tiny-gen",
        "--samples",
        "1",
        "--limit",
        "12",
        "--weights",
        tmp_path / "weights",
    )
    (result,) = run(tmp_path / "whole", *words, "--reference", photographs, "--npz")
    assert result.records["class"].between(0, 999).all()
    assert all(result[key].value is not None for key in ("fid", "inception_score", "precision", "recall"))
    assert {n.name for n in result.data.protocol.networks} == {"fid-inception", "fid-inception-classifier"}
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric

    from lactok.nn.inception import inception, tf1_resize

    def described(array: np.ndarray) -> Tensor:
        with torch.inference_mode():
            return inception("cpu")(tf1_resize(torch.from_numpy(array).permute(0, 3, 1, 2)))

    with np.load(result.folder / "samples.npz") as stored:
        ours = described(stored["arr_0"])
    how_prepared = images.Prepare(256, "adm", upright=False)
    theirs = described(np.stack([images.prepare(Image.open(p), how_prepared) for p in sorted(photographs.iterdir())]))
    statistics = [fid_features_to_statistics(f) for f in (ours, theirs)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert result["fid"].value == pytest.approx(expected, rel=1e-3)
    isc = isc_features_to_metric(ours @ classifier.T, 10, True, 2020)["inception_score_mean"]
    assert result["inception_score"].value == pytest.approx(isc, rel=1e-3)
    run(tmp_path / "parts", *words, "--reference", photographs, "--npz", "--part", "2/2")
    run(tmp_path / "parts", *words, "--reference", photographs, "--npz", "--part", "1/2")
    assert stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "whole")
    assert json.loads((result.folder / "result.json").read_text())["pictures"]["generator"]["samples"] == 1
