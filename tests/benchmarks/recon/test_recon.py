"""The suite end to end on a toy tokenizer: the same bytes however it is run, nothing done twice, nothing lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from conftest import Toy, photograph
from recon_command import run, stable_bytes
from safetensors.torch import save_file

import lactok
from benchmarks.recon import __main__ as recon
from lactok.evaluation import datasets, protocol
from lactok.evaluation.config import Run, split_names
from lactok.evaluation.evaluate import resolve_sources
from lactok.evaluation.results import ReconResult
from lactok.evaluation.schema import parsed
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import FeatureBlocks
from lactok.evaluation.table import markdown
from lactok.images import Prepare
from lactok.metrics.psnr import psnr
from lactok.metrics.registry import METRICS, Features, metric


def test_result_holds_what_the_format_promises(photographs: Path, tmp_path: Path) -> None:
    (result,) = run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(photographs)).values()
    assert result["tokenizer"]["bits"] == 16 * 6
    assert result["tokenizer"]["bpp"] == 96 / 64**2
    assert result["dataset"]["n"] == 70
    assert result["protocol"]["resolution"] == 64
    psnr = result["metrics"]["psnr"]
    assert psnr["n"] == 70
    assert psnr["ci95"][0] < psnr["value"] < psnr["ci95"][1]
    assert result["codebook"]["seen"] == 70 * 16
    (folder,) = (p.parent for p in (tmp_path / "out").glob("*/result.json"))
    records = pandas.read_parquet(folder / "records.parquet")
    assert records["psnr"].mean() == pytest.approx(psnr["value"])
    tokens = np.load(folder / "tokens.npz")
    assert tokens["ids"].shape == (70, 16)
    assert tokens["samples"].tolist() == records["id"].tolist()


def test_means_are_of_images_not_of_batches(photographs: Path, tmp_path: Path) -> None:
    """70 images in batches of 8: a mean of batch means would differ."""
    (result,) = run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(photographs)).values()
    from lactok import images

    toy = lactok.load("toy")
    values = []
    for sample in datasets.get(str(photographs)).samples:
        reference = images.prepare(sample.open(), Prepare(64))
        output = toy.reconstruct(images.tokenizer_input(reference, 32, "bicubic-aa")[None])[0]
        pixels = images.to_uint8(images.to_resolution(output, 64), "nearest")
        values.append(psnr(torch.from_numpy(reference.copy()).permute(2, 0, 1)[None], pixels))
    assert result["metrics"]["psnr"]["value"] == pytest.approx(float(torch.cat(values).mean()), abs=1e-9)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The CPU takes as many images at a time as a GPU would; how many each call of the toy's encoder was given."""
    monkeypatch.setattr(Run, "micro_batch", property(lambda run: run.batch_size))
    sizes: list[int] = []
    encode = Toy._encode

    def counted(self: Toy, images: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return encode(self, images, seeds)

    monkeypatch.setattr(Toy, "_encode", counted)
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 7])
def test_batch_size_changes_nothing(photographs: Path, tmp_path: Path, batches: list[int], batch: int) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs), "--pictures", "all")
    one = run(tmp_path / "a", *arguments, "--batch-size", "1")
    assert batches == [1] * 70
    batches.clear()
    other = run(tmp_path / "b", *arguments, "--batch-size", str(batch))
    full, rest = divmod(64, batch)
    assert batches == [batch] * full + [rest] * bool(rest) + [min(batch, 6 - i) for i in range(0, 6, batch)]
    assert one == other
    assert stable_bytes(tmp_path / "a") == stable_bytes(tmp_path / "b")
    files = [{p.name: p.read_bytes() for p in (tmp_path / x).glob("toy__*/images/*.png")} for x in "ab"]
    assert len(files[0]) == 70
    assert files[0] == files[1]


@pytest.mark.slow
def test_batch_size_changes_no_ids_of_a_network_and_pixels_by_rounding(tmp_path: Path, batches: list[int]) -> None:
    """Convolutions of several images round otherwise: the same ids, pixels within 1e-4 of [0, 1]."""
    samples = datasets.get("sample").limited(7).samples
    source = TokenizerSource("llamagen-vq16-tiny")
    base = Run(protocol.get("square-256"))
    references = [lactok.images.prepare(s.open(), base.protocol.prepare) for s in samples]
    tokenizer = source.tokenizer(base)
    ids, pixels = {}, {}
    for size in (1, 2, 7):
        parts = [slice(start, start + size) for start in range(0, 7, size)]
        ids[size] = torch.cat([source.encode(references[p], samples[p], base)[0] for p in parts])
        pixels[size] = torch.cat([tokenizer.decode(ids[size][p]) for p in parts])
    assert torch.equal(ids[1], ids[2])
    assert torch.equal(ids[1], ids[7])
    for size in (2, 7):
        assert float((pixels[size] - pixels[1]).abs().max()) <= 1e-4


def test_broken_photographs_are_named_and_the_others_run(photographs: Path, tmp_path: Path) -> None:
    (photographs / "000.png").write_bytes(b"no picture")
    (photographs / "069.png").write_bytes((photographs / "001.png").read_bytes()[:200])
    (result,) = run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(photographs)).values()
    assert result["dataset"]["n"] == 68
    assert {s["id"]: s["reason"] for s in result["dataset"]["skipped"]}["000.png"] == "not an image"
    assert len(result["dataset"]["skipped"]) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_only_broken_photographs_are_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int) -> None:
    (tmp_path / "broken").mkdir()
    for i in range(count):
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"no picture")
    arguments = ["--tokenizers", "resize-8,identity", "--dataset", str(tmp_path / "broken"), "--metrics", "psnr"]
    with pytest.raises(SystemExit) as caught:
        recon.main([*arguments, "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f": nothing to measure in {count} images; the first, 0.png: not an image")
    assert not list((tmp_path / "out").glob("*/result.json"))


@pytest.mark.parametrize("other", ["--tokenizers", "--dataset"])
def test_a_folder_of_reconstructions_stands_alone(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    run(tmp_path / "out", "--images", str(photographs), str(photographs), other, "all", code=2)
    assert f"error: {other} does not go with --images" in capsys.readouterr().err


def test_a_folder_of_reconstructions(photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(photographs, tmp_path / "copies")
    (tmp_path / "copies" / "003.png").unlink()
    (result,) = run(tmp_path / "out", "--images", str(photographs), str(tmp_path / "copies"), "--bits", "3584").values()
    assert result["metrics"]["psnr"] == {"value": 100.0, "ci95": [100.0, 100.0], "n": 69, "capped": 69}
    assert result["tokenizer"]["bits"] == 3584
    assert result["codebook"] is None
    assert "no reconstruction" in result["dataset"]["skipped"][0]["reason"]


@pytest.mark.slow
def test_all_metrics_with_the_real_networks(photographs: Path, tmp_path: Path) -> None:
    (identity,) = run(
        tmp_path / "out",
        "--tokenizers",
        "identity",
        "--dataset",
        str(photographs),
        "--limit",
        "4",
        "--metrics",
        "psnr,lpips_alex,rfid,rfid_clean,kid",
    ).values()
    values = {k: v["value"] for k, v in identity["metrics"].items()}
    assert values["lpips_alex"] == 0
    assert values["rfid"] == pytest.approx(0, abs=1e-3)
    assert values["rfid_clean"] == pytest.approx(0, abs=1e-3)
    assert identity["metrics"]["rfid"]["reliable"] is False


def test_one_image_has_no_interval_and_no_distance(photographs: Path, tmp_path: Path) -> None:
    (result,) = run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(photographs), "--limit", "1").values()
    assert result["metrics"]["psnr"]["ci95"] is None


def test_distances_hold_a_few_shards_at_a_time(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Twice as many shards need no more memory, and no block is of more than the shards of a group."""
    import tracemalloc

    width, blocks, peaks = 2**14, [], []

    def walked(references, outputs) -> float:
        tracemalloc.start()
        for block in chain(references, outputs):
            assert block.shape[1] == width
            blocks.append(len(block))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return 0.0

    features = Features("wide", lambda images, device: np.ones((len(images), width), np.float32))
    request.addfinalizer(lambda: METRICS.registered.pop("walked", None))
    metric("walked", title="walked", higher=False, features=features)(walked)
    monkeypatch.setattr(FeatureBlocks, "GROUP", 2)
    monkeypatch.setattr(datasets, "SHARD", 5)
    for limit in (35, 70):
        arguments = ("--dataset", str(photographs), "--limit", str(limit), "--pictures", "0")
        (result,) = run(tmp_path / str(limit), "--tokenizers", "toy", *arguments, "--metrics", "walked").values()
        assert result["metrics"]["walked"]["n"] == limit
    assert blocks[: 8 + 14] == [10, 10, 10, 5] * 2 + [10] * 14
    assert len(blocks) == 8 + 14 + 20 * 14  # of 70 images also without each of twenty groups, for an interval
    assert max(blocks) == 10
    assert 10 * 4 * width <= peaks[1] < 1.1 * peaks[0] < 70 * 4 * width  # the last: one side of the larger run


def test_sample_set_is_as_documented() -> None:
    samples = datasets.get("sample").samples
    assert len(samples) == 36
    assert len({s.id for s in samples}) == 36
    assert {min(s.open().size) for s in samples} == {256, 300, 400, 427, 512}


def test_every_key_part_counts(photographs: Path, tmp_path: Path) -> None:
    row = TokenizerSource("toy")
    samples = datasets.get(str(photographs)).samples[:3]
    base = Run(protocol.get("square-256"))
    keys = {
        row.key(samples, base),
        row.key(samples[:2], base),
        row.key(samples, Run(protocol.get("llamagen-256"))),
        row.key(samples, Run(protocol.get("square-256"), dtype="bfloat16")),
        row.key(samples, Run(protocol.get("square-256"), seed=1)),
        TokenizerSource("resize-8").key(samples, base),
    }
    assert len(keys) == 6
    assert row.key(samples, base) == row.key(samples, Run(protocol.get("square-256", metrics="psnr")))


def test_table_marks_what_a_reader_must_know(photographs: Path, tmp_path: Path) -> None:
    run_of = run(tmp_path / "out", "--tokenizers", "jpeg@bits=64", "--dataset", str(photographs), "--limit", "3")
    (stored,) = run_of.values()
    stored["tokenizer"] |= {"name": "x", "bits": 4000.0, "over_budget": 2}
    stored["metrics"] = {
        "psnr": {"value": 20.0, "ci95": [19.0, 21.0], "n": 3},
        "rfid": {"value": 5.0, "ci95": None, "n": 3, "reliable": False},
    }
    text = markdown([ReconResult(tmp_path, parsed(stored)[0])])
    assert "PSNR ↑" in text
    assert "20.00 ±1.00" in text
    assert "~5.00" in text
    assert "4000*" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tokenizers", "identiy"), "unknown tokenizer 'identiy', did you mean 'identity'"),
        (("--tokenizers", "jpeg@bit=3"), "unknown option of jpeg 'bit', did you mean 'bits'"),
        (("--tokenizers", "jpeg@bits=many"), "not an integer"),
        (("--tokenizers", "jpeg@bits=1"), "between 64"),
        (("--tokenizers", "jpeg@"), "options are missing"),
        (("--tokenizers", " "), "empty"),
        (("--tokenizers", "toy", "--metrics", "psnrr"), "unknown metric 'psnrr', did you mean 'psnr'"),
        (("--tokenizers", "toy", "--protocol", "paper"), "unknown protocol 'paper', did you mean 'paper-1024'"),
        (("--tokenizers", "toy", "--dataset", "coko"), "unknown data set 'coko', did you mean 'coco'"),
        (("--tokenizers", "toy", "--dataset", "coco"), "val2017"),
        (("--tokenizers", "toy", "--dataset", "no/such/folder"), "no such folder"),
        (("--tokenizers", "toy", "--resolution", "3"), "between 32 and 8192"),
        (("--tokenizers", "toy", "--limit", "0"), "1 or more"),
        (("--tokenizers", "toy", "--part", "3/2"), "write I/N"),
        (("--tokenizers", "toy", "--pictures", "some"), "a number, 0 or more, or all"),
        (("--tokenizers", "toy", "--weights", "no/such"), "no such folder"),
        (("--images", "no", "such"), "no such folder"),
        (("--tokenizers", "toy", "--device", "toaster"), "not a device"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    run(tmp_path / "out", *arguments, code=2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
    assert error.startswith("error: ")


def test_empty_folder_and_unwritable_out(tmp_path: Path, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    run(tmp_path / "out", "--tokenizers", "toy", "--dataset", str(tmp_path / "empty"), code=2)
    assert "holds no images" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    run(tmp_path / "file", "--tokenizers", "toy", "--dataset", str(photographs), code=2)
    assert "choose another --out" in capsys.readouterr().err


def test_missing_weights_are_named_and_the_others_run(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("LACTOK_CACHE", str(tmp_path / "cache"))
    arguments = ("--tokenizers", "toy llamagen-vq8", "--dataset", str(photographs))
    assert len(run(tmp_path / "out", *arguments, code=3)) == 1
    assert "not run: llamagen-vq8: weights not found" in capsys.readouterr().out


def test_a_failing_adapter_does_not_lose_the_others(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Toy, "_decode", lambda *_: 1 / 0)
    arguments = ("--tokenizers", "toy resize-8", "--dataset", str(photographs))
    assert [r["tokenizer"]["name"] for r in run(tmp_path / "out", *arguments, code=3).values()] == ["resize-8"]
    assert "failed: toy: ZeroDivisionError" in capsys.readouterr().err


def test_foreign_weights_fail_one_row_only(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "weights").mkdir()
    save_file({"x": torch.ones(1)}, tmp_path / "weights" / "llamagen-vq16-tiny.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path / "weights"))
    arguments = ("--tokenizers", "llamagen-vq16-tiny resize-8", "--dataset", str(photographs))
    assert [r["tokenizer"]["name"] for r in run(tmp_path / "out", *arguments, code=3).values()] == ["resize-8"]
    assert "do not fit llamagen-vq16-tiny" in capsys.readouterr().err


def test_folders_of_one_name_are_two_data_sets(tmp_path: Path) -> None:
    for i, name in enumerate(("x", "y")):
        (tmp_path / name / "val").mkdir(parents=True)
        photograph(i).save(tmp_path / name / "val" / "a.png")
    first, second = (datasets.get(str(tmp_path / name / "val")).name for name in ("x", "y"))
    assert first != second


def test_the_metrics_networks_are_part_of_the_key() -> None:
    base = Run(protocol.get("square-256"))
    assert base.scoring_key != replace(base, networks=(("fid-inception", "0"),)).scoring_key
    assert base.scoring_key != replace(base, device="cuda:1").scoring_key


def test_the_table_keeps_the_rows_of_earlier_runs(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, of = tmp_path / "out", ("--dataset", str(photographs), "--limit", "8")
    run(out, "--tokenizers", "toy resize-8", *of)
    (table,) = out.glob("table__*.md")
    assert table.read_text() in capsys.readouterr().out
    run(out, "--tokenizers", "jpeg", *of)
    rows = [line.split()[1] for line in table.read_text().splitlines() if line.startswith("| ")]
    assert rows == ["tokenizer", "jpeg", "resize-8", "toy"]
    said = capsys.readouterr().out
    assert "resize-8" not in said  # what is printed are the rows that were asked for
    assert f"written: {table} (with 2 rows of earlier runs)" in said
    run(out, "--tokenizers", "jpeg", *of, "--seed", "3")
    run(out, "--tokenizers", "identity", "--dataset", str(photographs), "--limit", "7")
    assert len(list(out.glob("table__*.md"))) == 3
    (next(out.glob("toy__*")) / "result.json").write_text("{}")
    other = next(out.glob("resize-8__*")) / "result.json"
    stored = json.loads(other.read_text())
    stored["dataset"]["sha256"] = "0" * 64  # of other photographs of the same names
    other.write_text(json.dumps(stored))
    run(out, "--tokenizers", "jpeg", *of)
    rows = [line.split()[1] for line in table.read_text().splitlines() if line.startswith("| ")]
    assert rows == ["tokenizer", "jpeg"]


def test_dry_run_computes_nothing(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--tokenizers", "resize-8 llamagen-vq8", "--dataset", str(photographs), "--dry-run")
    assert run(tmp_path / "out", *arguments) == {}
    text = capsys.readouterr().out
    assert "70 of 70" in text
    assert not (tmp_path / "out").exists()


def test_option_names() -> None:
    assert split_names("a,b c@x=1,y=2,d") == ["a", "b", "c@x=1,y=2", "d"]
    assert lactok.spec("jpeg@bits=3584").name == "jpeg"
    assert lactok.spec("jpeg@bits=4000").name == "jpeg@bits=4000"


def test_local_rows_are_those_that_need_no_download(own_cache: Path) -> None:
    rows, missing, broken = resolve_sources(["toy", "llamagen-vq16-tiny", "titok-s128", "flextok-d12-d12"], fetch=False)
    assert len(rows) == 2
    assert set(missing) == {"titok-s128", "flextok-d12-d12"}
    assert missing["titok-s128"] == "its weights (0.3 GB) are not on this machine; name it to fetch them"
    assert not broken


def test_a_network_of_the_metrics_is_fetched_for_local_rows(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("lactok.registry.resolve_assets", lambda name: asked.append(name) or {})
    rows, missing, _ = resolve_sources(["seedtok-tiny"], fetch=False)  # its visual encoder is FID's Inception
    assert (len(rows), missing, asked) == (1, {}, ["seedtok-tiny"])
