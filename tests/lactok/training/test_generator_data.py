"""What a generator is trained on: captions beside pictures or in files, and stored ids and text features."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Toy
from pairs import CAPTIONS, PICTURES, changed, pack, trainer, write_pairs
from safetensors.torch import load_file

import lactok
from lactok.errors import UserError
from lactok.images import Prepare, prepare, tokenizer_input
from lactok.nn import t5
from lactok.training.data import Photos
from lactok.training.generator import GeneratorRecipe, captions
from lactok.training.generator.extract import Extraction
from lactok.training.generator.text import text_encoder


def captions_of(data: Path, cache: Path, file: str = "") -> dict[str, str]:
    """The captions of a data set by the pictures' names."""
    photos = Photos.of(data, 0).train
    found = captions.find(photos, str(data), file, cache)
    return {photo.name: found.text(number) for number, photo in enumerate(photos)}


def test_captions_beside_pictures(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs")
    (folder / "000.txt").write_text("  a cat\n on two lines ")
    (folder / "001.txt").unlink()
    (folder / "002.txt").unlink()
    (folder / "002.json").write_text('{"caption": "", "prompt": "a bus"}')
    (folder / "003.json").write_text('{"caption": "the .txt goes first"}')
    (folder / "004.txt").write_text(" ")
    found = captions_of(folder, tmp_path)
    assert [found[f"{i:03}.png"] for i in range(6)] == ["a cat on two lines", "", "a bus", CAPTIONS[3], "", CAPTIONS[0]]


def test_captions_with_endings_in_capitals(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs")
    for name in ("000.png", "000.txt", "001.txt"):
        (folder / name).rename((folder / name).with_suffix(Path(name).suffix.upper()))
    (folder / "002.txt").unlink()
    (folder / "002.JSON").write_text('{"caption": "a bus"}')
    found = captions_of(folder, tmp_path)
    assert [found[name] for name in ("000.PNG", "001.png", "002.png")] == [CAPTIONS[0], CAPTIONS[1], "a bus"]


def test_of_a_caption_without_end_the_beginning_is_read(
    pair_recipe: GeneratorRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cleaning takes the square of a word's length in time, hours for a million characters."""
    Path(pair_recipe.data, "000.txt").write_text("a red bus on the photo of two cat " + "x" * 100)
    whole, cut = extraction(pair_recipe, tmp_path / "whole"), extraction(pair_recipe, tmp_path / "cut")
    whole.run(0, 1, torch.device("cpu"))
    monkeypatch.setattr(t5, "LONGEST", 60)
    assert len(t5.clean("x" * 100)) == 60
    cut.run(0, 1, torch.device("cpu"))
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_names_that_are_not_utf_8(
    pair_recipe: GeneratorRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = os.fsencode(pair_recipe.data)
    for before, after in ((b"000", b"\xff"), (b"001", b"\xfe\nx")):
        for ending in (b".png", b".txt"):
            os.rename(data + b"/" + before + ending, data + b"/" + after + ending)
    Path(os.fsdecode(data + b"/\xfe\nx.png")).write_bytes(b"not a picture")
    for _ in range(2):
        run = trainer(changed(pair_recipe, variants=2, steps=1), tmp_path / "out")
        run.run()
        shutil.rmtree(tmp_path / "out" / "extracted")
    assert len(run.pairs.rows) == 11 - pair_recipe.held_out
    assert (tmp_path / "out" / "broken.txt").read_bytes() == data + b"/\xfe\\nx.png\n"
    said = [line for line in capsys.readouterr().out.splitlines() if "not a readable image" in line]
    assert len(said) == 1
    assert r"\udcfe\nx.png" in said[0]


def test_captions_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pairs(tmp_path / "pairs", captions=False)
    pictures = [path.read_bytes() for path in sorted(folder.iterdir())]
    texts = {"a.0.txt": b"a cat", "a.json": b'{"caption": "the .txt goes first"}', "b.json": b'{"caption": "a bus"}'}
    pack(tmp_path / "x" / "0.tar", {"a.png": pictures[0], **texts, "b.png": pictures[1], "c.png": pictures[2]})
    pack(tmp_path / "x" / "1.tar", {"d/e.txt": b"two cat", "d/e.png": pictures[3]})
    expected = {"a.png": "a cat", "b.png": "a bus", "c.png": "", "e.png": "two cat"}
    assert captions_of(tmp_path / "x", tmp_path / "cache") == expected
    with monkeypatch.context() as unread:
        unread.setattr(captions, "index", lambda *_: pytest.fail("a shard that has not changed is read again"))
        assert captions_of(tmp_path / "x", tmp_path / "cache") == expected
    for path in (tmp_path / "cache").iterdir():
        kept = path.read_bytes()
        entry = kept.index(b"PK\x01\x02")  # where the archive's list of members begins
        for damaged in (kept[:50], kept[: entry + 10] + b"\x63" + kept[entry + 11 :]):
            path.write_bytes(damaged)
            assert captions_of(tmp_path / "x", tmp_path / "cache") == expected


@pytest.mark.parametrize("ending", ["json", "jsonl", "tsv"])
def test_captions_in_a_file(tmp_path: Path, ending: str) -> None:
    write_pairs(tmp_path / "data" / "below", captions=False)
    texts = {"json": '{"000.png": "a cat", "001.jpg": "a bus"}', "tsv": "000.png\ta cat\n001.jpg\ta bus\n"}
    texts["jsonl"] = (
        '{"file_name": "below/000.png", "caption": "a cat"}\n{"file_name": "below/001.jpg", "prompt": "a bus"}'
    )
    (tmp_path / "data" / f"captions.{ending}").write_text(texts[ending])
    found = captions_of(tmp_path / "data", tmp_path)
    assert [found[f"{i:03}.png"] for i in range(3)] == ["a cat", "a bus", ""]
    (tmp_path / "other.json").write_text('{"000.png": "another"}')
    assert captions_of(tmp_path / "data", tmp_path, str(tmp_path / "other.json"))["000.png"] == "another"


def test_no_captions_at_all(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", captions=False)
    with pytest.raises(UserError, match=r"none of the 12 pictures of .* has a caption; put NAME.txt beside NAME.jpg"):
        captions_of(folder, tmp_path)
    (folder / "captions.json").write_text('{"cat.png": "a cat"}')
    with pytest.raises(UserError, match=r"captions.json names none of the 12 pictures"):
        captions_of(folder, tmp_path)


def extraction(recipe: GeneratorRecipe, folder: Path) -> Extraction:
    photos = Photos.of(recipe.data, 0).train
    found = captions.find(photos, recipe.data, recipe.captions, folder / "captions")
    assert recipe.model is not None
    order = np.arange(len(photos))
    text = text_encoder(recipe.text)
    return Extraction(recipe, text, recipe.model.text_tokens, photos, found, order, {}, folder / "files", folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "files").glob("*.safetensors"))}


def test_what_is_stored(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    Path(pair_recipe.data, "003.txt").unlink()
    Path(pair_recipe.data, "004.png").write_bytes(b"not a picture")
    work = extraction(changed(pair_recipe, variants=2, scale=(40, 48)), tmp_path / "x")
    work.run(0, 1, torch.device("cpu"))
    assert [path.name for path in work.files()] == ["000000.safetensors", "000001.safetensors", "000002.safetensors"]
    first = load_file(work.files()[0])
    assert first["state"].tolist() == [0, 0, 0, 1, 2]
    # the end counts as a token; a caption of ten words is cut to eight tokens
    assert first["ends"].tolist() == [4, 7, 15, 15, 15]
    assert first["cut"].tolist() == [0, 0, 1, 0, 0]
    assert first["features"].shape == (15, 16)
    assert first["features"].dtype == torch.float16
    assert first["ids"].shape == (5, 2, 16)
    assert not first["ids"][3:].any()
    assert not torch.equal(first["ids"][0, 0], first["ids"][0, 1])
    photo = work.photos[0]
    square = tokenizer_input(prepare(photo.open_rgb(), Prepare(32)), 32, "bicubic-aa")
    assert torch.equal(first["ids"][0, 0].long(), lactok.load("toy").encode(square[None])[0])
    assert "004.png" in (tmp_path / "x" / "broken.txt").read_text()


def test_a_killed_extraction_goes_on(
    pair_recipe: GeneratorRecipe, tmp_path: Path, toy_calls: type[Toy], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = extraction(pair_recipe, tmp_path / "whole"), extraction(pair_recipe, tmp_path / "broken")
    whole.run(0, 1, torch.device("cpu"))
    computed = Extraction.computed

    def killed(self: Extraction, numbers: list[int], *more: object) -> object:
        if 5 in numbers:
            raise KeyboardInterrupt
        return computed(self, numbers, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as killing:
        killing.setattr(Extraction, "computed", killed)
        with pytest.raises(KeyboardInterrupt):
            broken.run(0, 1, torch.device("cpu"))
    assert broken.missing() == [1, 2]
    toy_calls.calls = 0
    broken.run(0, 1, torch.device("cpu"))
    assert toy_calls.calls == PICTURES - 5
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    broken.run(0, 1, torch.device("cpu"))
    assert toy_calls.calls == PICTURES - 5


def test_where_nothing_can_be_extracted(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fsdp = true spreads weights over processes, here is one"):
        trainer(changed(pair_recipe, fsdp=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    file = Path(pair_recipe.data, "000.png")
    with pytest.raises(UserError, match=rf"cannot write to {file} \(.*\); choose another `extracted`; what was"):
        trainer(changed(pair_recipe, extracted=str(file)), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has 0 images; the names of images end in \.jpg"):
        trainer(changed(pair_recipe, data=str(tmp_path / "empty")), tmp_path / "out")


def test_processes_share_an_extraction(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    one, two = extraction(pair_recipe, tmp_path / "one"), extraction(pair_recipe, tmp_path / "two")
    one.run(0, 1, torch.device("cpu"))
    two.run(1, 2, torch.device("cpu"))
    assert two.missing() == [0, 2]
    two.run(0, 2, torch.device("cpu"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_folder_and_its_shards_give_the_same_batches(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    members = {path.name: path.read_bytes() for path in sorted(Path(pair_recipe.data).iterdir())}
    names = sorted(members)
    for shard in range(2):  # pictures 0, 2, ... and 1, 3, ...
        pack(tmp_path / "shards" / f"{shard}.tar", {n: members[n] for n in names if int(n[:3]) % 2 == shard})
    runs = [
        trainer(recipe, tmp_path / f"out {number}")
        for number, recipe in enumerate((pair_recipe, changed(pair_recipe, data=str(tmp_path / "shards"))))
    ]
    for position in range(20):
        batches = [run.pairs.batch(torch.from_numpy(run.pairs.at(position, 0))[None], 8) for run in runs]
        for mine, theirs in zip(*batches, strict=True):
            assert torch.equal(mine, theirs)
    held = [(run.out / "held-out.txt").read_text().splitlines() for run in runs]
    assert [Path(p).name for p in held[0]] == [Path(p).name for p in held[1]]


def test_what_is_left_out_is_said_once(
    pair_recipe: GeneratorRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(pair_recipe.data)
    for number in (0, 2, 4, 6):
        (data / f"{number:03}.txt").unlink()
    (data / "001.png").write_bytes(b"not a picture")
    (data / "003.txt").write_bytes(b"\xff\xfe\xff")
    run = trainer(pair_recipe, tmp_path / "out")
    said = capsys.readouterr().out
    assert "left out: 5 of 12 pictures without a caption: 000.png, 002.png, 003.png and 2 more" in said
    assert "left out: 1 of 12 pictures that cannot be read; they are named in broken.txt" in said
    assert "1 of 12 captions are longer than the text encoder reads" in said
    assert "003.png, its caption" in (tmp_path / "out" / "broken.txt").read_text()
    assert len(run.pairs.rows) == 6 - pair_recipe.held_out
    for number in range(7, 12):
        (data / f"{number:03}.txt").unlink()
    with pytest.raises(UserError, match="has 1 pictures with a caption that can be read; more than the 2 held"):
        trainer(pair_recipe, tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no text encoder; one has config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "is no T5 of version 1.1"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is not a tokenizer.json"),
    ],
)
def test_a_folder_that_holds_no_text_encoder(
    pair_recipe: GeneratorRecipe, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    change(Path(pair_recipe.text))
    with pytest.raises(UserError, match=said):
        trainer(pair_recipe, tmp_path / "out")


def test_an_unknown_text_encoder() -> None:
    with pytest.raises(UserError, match=r"unknown text encoder 'flan-t5-xxl', did you mean 'flan-t5-xl'\?"):
        text_encoder("flan-t5-xxl")
    with pytest.raises(UserError, match="no such folder"):
        text_encoder("there/is/none")
    with pytest.raises(UserError, match="unknown text encoder ''"):
        text_encoder("")


def test_the_settings_say_what_the_ids_depend_on(pair_recipe: GeneratorRecipe, tmp_path: Path) -> None:
    trainer(pair_recipe, tmp_path / "out")
    trainer(
        changed(pair_recipe, seed=1, held_out=3, peak_lr=1e-3),
        tmp_path / "same",
    )
    (first,), (same,) = ([*(tmp_path / out / "extracted").iterdir()] for out in ("out", "same"))
    assert first.name == same.name
    Path(pair_recipe.data, "000.txt").write_text("a green bus")
    trainer(pair_recipe, tmp_path / "out")
    assert len([*(tmp_path / "out" / "extracted").iterdir()]) == 2
    settings = json.loads((first / "settings.json").read_text())
    assert settings["tokenizer"]["name"] == "toy"
    assert settings["text"] == {"name": "words", "tokens": 8, "stored": "fp16"}
