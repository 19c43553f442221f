"""Which pictures of a run are kept, and that they are what was scored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from conftest import Toy, photograph
from PIL import Image
from recon_command import run, stable_bytes
from reference import ROOT

from lactok import images
from lactok.evaluation import datasets
from lactok.evaluation.datasets import Sample
from lactok.evaluation.kept_images import file_name
from lactok.metrics.psnr import psnr


def row_folder(out: Path, name: str = "toy") -> Path:
    (found,) = out.glob(f"{name}__*")
    return found


def index(folder: Path) -> dict[str, list[str]]:
    """Sample -> why, of a row's folder."""
    return {p["sample"]: p["why"] for p in json.loads((folder / "images" / "index.json").read_text())["pictures"]}


def pictures(out: Path) -> dict[str, bytes]:
    """All files that `kept_images.publish` wrote, by path."""
    files = [*out.glob("*/images/*"), *out.glob("references/*/*")]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(files)}


def check_pixels(out: Path, folder: Path) -> int:
    """PSNR of each kept picture against its reference is that of the record; returns how many there are."""
    stored = json.loads((folder / "images" / "index.json").read_text())
    records = pandas.read_parquet(folder / "records.parquet").set_index("id")
    for entry in stored["pictures"]:
        both = [out / "references" / stored["references"] / entry["file"], folder / "images" / entry["file"]]
        planes = [torch.from_numpy(np.asarray(Image.open(p)).copy()).permute(2, 0, 1)[None] for p in both]
        assert float(psnr(*planes)) == records.psnr[entry["sample"]]
    assert {p.name for p in (folder / "images").iterdir()} == {
        "index.json",
        *(entry["file"] for entry in stored["pictures"]),
    }
    return len(stored["pictures"])


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the toy's decoder was given."""
    counts: list[int] = []
    decode = Toy._decode

    def counted(self: Toy, ids: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        counts.append(len(ids))
        return decode(self, ids, seeds)

    monkeypatch.setattr(Toy, "_decode", counted)
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy", "resize-8", "jpeg"])
def test_the_chosen_the_best_and_the_worst_are_kept_as_scored(photographs: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    run(out, "--tokenizers", name, "--dataset", str(photographs), "--pictures", "4")
    why = index(row_folder(out, name))
    ranked = pandas.read_parquet(row_folder(out, name) / "records.parquet").sort_values(["psnr", "id"])["id"].tolist()
    assert {s for s, w in why.items() if "worst" in w} == set(ranked[:3])
    assert {s for s, w in why.items() if "best" in w} == set(ranked[-3:])
    chosen = {s.id for s in datasets.get(str(photographs)).limited(4).samples}
    assert {s for s, w in why.items() if "chosen" in w} == chosen
    assert list(why) == sorted(why)
    assert check_pixels(out, row_folder(out, name)) == len(chosen | set(ranked[:3]) | set(ranked[-3:]))


def test_lpips_ranks_before_psnr_and_without_either_only_the_chosen_are_kept(photographs: Path, tmp_path: Path) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs), "--limit", "12", "--pictures", "2")
    run(tmp_path / "a", *arguments, "--metrics", "psnr,lpips_alex")
    records = pandas.read_parquet(row_folder(tmp_path / "a") / "records.parquet").sort_values("lpips_alex")["id"]
    why = index(row_folder(tmp_path / "a"))
    assert {s for s, w in why.items() if "best" in w} == set(records[:3])
    assert {s for s, w in why.items() if "worst" in w} == set(records[-3:])
    run(tmp_path / "b", *arguments, "--metrics", "ssim")
    assert list(index(row_folder(tmp_path / "b")).values()) == [["chosen"], ["chosen"]]


@pytest.mark.slow
def test_references_are_the_prepared_photographs_once_for_all_rows(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, "--tokenizers", "toy resize-8", "--dataset", str(photographs), "--pictures", "all")
    (folder,) = (out / "references").iterdir()
    samples = datasets.get(str(photographs)).samples
    assert {p.name for p in folder.iterdir()} == {file_name(s) for s in samples}
    for sample in samples[:3]:
        expected = images.prepare(sample.open(), images.Prepare(64))
        assert np.array_equal(np.asarray(Image.open(folder / file_name(sample))), expected)
    assert check_pixels(out, row_folder(out)) == check_pixels(out, row_folder(out, "resize-8")) == 70


def extremes_so_far(out: Path) -> set[str]:
    """Ids of the samples that are among the three best or worst by PSNR of their shard and those before it."""
    records = pandas.read_parquet(row_folder(out) / "records.parquet")
    found: set[str] = set()
    for start, end in ((0, 64), (64, 70)):
        ranked = records[:end].sort_values(["psnr", "id"])["id"].tolist()
        found |= {*ranked[:3], *ranked[-3:]} & set(records["id"][start:])
    return found


@pytest.mark.parametrize("pictures_kept", ["0", "6"])
def test_every_image_is_decoded_once(photographs: Path, tmp_path: Path, decodes: list[int], pictures_kept: str) -> None:
    """Each shard keeps the best and worst so far while it is scored, so the best of all need no second decoding."""
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs), "--pictures", pictures_kept)
    run(tmp_path / "out", *arguments)
    first = pictures(tmp_path / "out")
    assert sum(decodes) == 70
    kept = len(list((tmp_path / "out" / "store" / "pictures").glob("*/*.png"))) // 2  # and the photograph of each
    chosen = {s.id for s in datasets.get(str(photographs)).limited(int(pictures_kept) or None).samples}
    assert kept == len(extremes_so_far(tmp_path / "out") | (chosen if int(pictures_kept) else set()))
    run(tmp_path / "out", *arguments)
    assert sum(decodes) == 70
    assert pictures(tmp_path / "out") == first


@pytest.mark.slow
def test_more_pictures_later_decode_those_alone_and_change_no_result(
    photographs: Path, tmp_path: Path, toy_calls: type[Toy], decodes: list[int]
) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments, "--pictures", "0")
    assert all("chosen" not in why for why in index(row_folder(tmp_path / "out")).values())
    first, times = stable_bytes(tmp_path / "out"), (row_folder(tmp_path / "out") / "run.json").read_bytes()
    shown, stored = len(index(row_folder(tmp_path / "out"))), len(extremes_so_far(tmp_path / "out"))
    assert 6 == shown <= stored
    decodes.clear()
    run(tmp_path / "out", *arguments, "--pictures", "all")
    assert sum(decodes) == 70 - stored
    assert toy_calls.calls == 70
    assert stable_bytes(tmp_path / "out") == first
    assert (row_folder(tmp_path / "out") / "run.json").read_bytes() == times
    assert check_pixels(tmp_path / "out", row_folder(tmp_path / "out")) == 70
    run(tmp_path / "out", *arguments, "--pictures", "0")
    assert len(index(row_folder(tmp_path / "out"))) == shown


def test_run_json_counts_the_images_that_its_seconds_belong_to(photographs: Path, tmp_path: Path) -> None:
    """In a run that was broken off after the first shard, the seconds are those of the six images that were left."""
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments, "--part", "1/2")
    run(tmp_path / "out", *arguments)
    assert json.loads((row_folder(tmp_path / "out") / "run.json").read_text())["images"] == {"encode": 6, "decode": 6}


@pytest.mark.slow
def test_parts_workers_and_a_broken_off_run_keep_the_same_pictures(photographs: Path, tmp_path: Path) -> None:
    (photographs / "003.png").write_bytes(b"no picture")
    arguments = ("--tokenizers", "resize-8", "--dataset", str(photographs), "--pictures", "all")
    run(tmp_path / "whole", *arguments)
    assert run(tmp_path / "parts", *arguments, "--part", "2/2") == {}
    run(tmp_path / "parts", *arguments, "--part", "1/2")
    run(tmp_path / "workers", *arguments, "--workers", "2")
    run(tmp_path / "resumed", *arguments[:-1], "2", "--part", "1/2", code=0)
    run(tmp_path / "resumed", *arguments, "--workers", "2")
    whole = pictures(tmp_path / "whole")
    assert check_pixels(tmp_path / "whole", row_folder(tmp_path / "whole", "resize-8")) == 69
    assert whole == pictures(tmp_path / "parts") == pictures(tmp_path / "workers") == pictures(tmp_path / "resumed")


def test_a_part_leaves_the_others_pictures_to_them(photographs: Path, tmp_path: Path, decodes: list[int]) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments, "--metrics", "ssim")
    decodes.clear()
    run(tmp_path / "out", *arguments, "--metrics", "ssim", "--pictures", "all", "--part", "2/2")
    assert sum(decodes) <= 6  # the second shard
    run(tmp_path / "out", *arguments, "--metrics", "ssim", "--pictures", "all", "--part", "1/2")
    assert len(index(row_folder(tmp_path / "out"))) == 70


def test_a_lost_picture_is_made_again(photographs: Path, tmp_path: Path, decodes: list[int]) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments)
    first = pictures(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "store" / "pictures")
    shutil.rmtree(row_folder(tmp_path / "out") / "images")
    run(tmp_path / "out", *arguments)
    assert pictures(tmp_path / "out") == first
    decodes.clear()
    lost = next((tmp_path / "out" / "store" / "pictures").glob("*/*.png"))
    content = lost.read_bytes()
    lost.unlink()
    run(tmp_path / "out", *arguments)
    assert lost.read_bytes() == content
    assert sum(decodes) == 1
    assert pictures(tmp_path / "out") == first


def test_a_folder_of_reconstructions_keeps_pictures(photographs: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for i in range(5):
        photograph(i + 100).save(made / f"{i:03}.png")
    out = tmp_path / "out"
    run(out, "--images", str(photographs), str(made))
    folder = row_folder(out, "images-made-*")
    assert set(index(folder)) <= {f"{i:03}.png" for i in range(5)}
    assert check_pixels(out, folder) == 5  # of five the best three and the worst three are all


def test_two_ids_never_share_a_file(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "x.png")
    ids = ["a/b.png", "a_b.png", "a b.png", "A_b.png", "a_b.jpg", "a_b", "..", ".hidden", "", "é", "x" * 300, "-rf"]
    names = [file_name(Sample(i, tmp_path / "x.png")) for i in ids]
    assert len({n.lower() for n in names}) == len(ids)
    for name in names:
        assert len(name) < 120
        assert name.isascii()
        assert name[0] not in ".-"
        assert "/" not in name


def test_a_changed_photograph_gets_a_reference_of_its_own(photographs: Path, tmp_path: Path) -> None:
    """An older row's pictures stay beside the photograph that they were made of."""
    before = file_name(datasets.get(str(photographs)).samples[0])
    photograph(999).save(photographs / "000.png")
    assert file_name(datasets.get(str(photographs)).samples[0]) != before


def test_editing_published_pictures_changes_nothing_in_the_store(photographs: Path, tmp_path: Path) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs), "--limit", "8")
    out = tmp_path / "out"
    run(out, *arguments)
    first = pictures(out)
    for path in [*out.glob("*/images/*.png"), *out.glob("references/*/*.png")]:
        with path.open("r+b") as handle:
            handle.write(b"edited in place")
    run(out, *arguments)
    assert pictures(out) == first


@pytest.mark.parametrize("damage", ["cut", "empty", "byte", "linked"])
def test_damaged_pictures_of_the_store_are_made_again(photographs: Path, tmp_path: Path, damage: str) -> None:
    """`linked`: earlier versions published the store's own files, so that an editor changed both."""
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs), "--limit", "8")
    out = tmp_path / "out"
    run(out, *arguments)
    first = pictures(out)
    for i, path in enumerate((out / "store" / "pictures").glob("*/*.png")):
        data = path.read_bytes()
        if damage == "linked":
            photograph(7, 64, 64).save(path)
            (tmp_path / f"{i}.png").hardlink_to(path)
        else:
            path.write_bytes({"cut": data[:-5], "empty": b"", "byte": data[:60] + b"?" + data[61:]}[damage])
    run(out, *arguments)
    assert pictures(out) == first


@pytest.mark.slow
def test_two_commands_with_other_pictures_leave_an_index_of_files_that_are_there(
    photographs: Path, tmp_path: Path
) -> None:
    """Both begin to write the same result at the same time, again and again."""
    out = tmp_path / "out"
    arguments = ["--tokenizers", "toy", "--dataset", str(photographs), "--limit", "20"]
    run(out, *arguments, "--pictures", "all")
    run(out, *arguments, "--pictures", "0")
    code = f"""
import sys
from pathlib import Path

import conftest, recon_command
for _ in range(6):
    recon_command.run(Path({str(out)!r}), *{arguments!r}, "--pictures", sys.argv[1])
"""
    tests = ROOT / "tests"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, tests)))}
    both = [
        subprocess.Popen([sys.executable, "-c", code, pictures_kept], env=env, stderr=subprocess.PIPE, text=True)
        for pictures_kept in ("all", "0")
    ]
    for process in both:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert check_pixels(out, row_folder(out)) in (6, 20)


def test_a_picture_of_the_users_own_stays(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--tokenizers", "toy", "--dataset", str(photographs), "--limit", "20")
    run(out, *words, "--pictures", "20")
    folder = row_folder(out) / "images"
    before = {path.name for path in folder.glob("*.png")}
    (folder / "mine.png").write_bytes(b"mine")
    run(out, *words, "--pictures", "0")
    assert (folder / "mine.png").read_bytes() == b"mine"
    kept = {path.name for path in folder.glob("*.png")} - {"mine.png"}
    assert len(before) == 20
    assert kept < before


@pytest.mark.parametrize("what", ["table", "images"])
def test_a_place_of_outputs_that_is_taken_is_said_before_the_work(
    photographs: Path, tmp_path: Path, toy_calls: type[Toy], capsys: pytest.CaptureFixture[str], what: str
) -> None:
    out, words = tmp_path / "out", ("--tokenizers", "toy", "--dataset", str(photographs), "--limit", "2")
    run(tmp_path / "first", *words)
    (table,) = (tmp_path / "first").glob("table*.md")
    if what == "table":
        (out / table.name).mkdir(parents=True)
    else:
        folder = out / row_folder(tmp_path / "first").name
        folder.mkdir(parents=True)
        (folder / "images").write_bytes(b"")
    toy_calls.calls = 0
    run(out, *words, code=2)
    assert toy_calls.calls == 0
    assert "choose another --out" in capsys.readouterr().err
