"""Figures and grids need stored results alone, have the same bytes every time and show names literally."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import photograph
from PIL import Image

from benchmarks.recon.__main__ import main as measure
from lactok.evaluation.results import load_results
from reports import __main__ as reports
from reports import families, figures, sheet
from reports.drawing import wrap

pytestmark = pytest.mark.slow  # figures are drawn

HOSTILE = ("$x_1^{2}$", "<script>&amp;", "_hidden", "a\x07b", "x" * 300, "日本 %s {0}", "\\frac{")


def stored(runs: Path, name: str, **changes: Any) -> Path:
    """Write a made-up result of a tokenizer and return its folder.

    Args:
        runs: the folder of results; numbers depend on how many it already has.
        name: the tokenizer's name.
        changes: values of result.json that are replaced, by their path in it, such as "dataset.name".
    """
    n = len(list(runs.iterdir())) if runs.is_dir() else 0
    result: dict[str, Any] = {
        "schema": 2,
        "suite": "recon",
        "limit": None,
        "tokenizer": {
            "name": name,
            "family": "titok",
            "tokens": 32 << n,
            "codebook_size": 4096,
            "bits": 384.0 * 2**n,
            "decode_steps": 1,
            "options": {},
            "license": "MIT",
            "note": "",
            "assets": [],
        },
        "dataset": {"name": "coco", "n": 50, "sha256": "ab" * 32, "skipped": []},
        "protocol": {
            "name": "square-256",
            "prepare": "11111111",
            "score": "22222222",
            "resolution": 256,
            "networks": [],
            "definition": {"prepare": {}, "score": {}},
        },
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
        "metrics": {
            "psnr": {"value": 20.0 + n, "ci95": [19.5 + n, 20.4 + n], "n": 50, "capped": 0},
            "lpips_alex": {"value": 0.5 / (n + 1), "ci95": None, "n": 50},
            "rfid": {"value": 30.0 - n, "ci95": None, "n": 50, "reliable": False},
        },
        "codebook": None,
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        part = result
        for key in parents:
            part = part[key]
        part[last] = value
    about = {
        "machine": {"processor": "A processor", "threads": 2},
        "device": "cpu",
        "seconds": {"wall": {"decode": 10.0}},
        "images": {"decode": 5 * (n + 1)},
    }
    folder = runs / f"row{n}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "run.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("titok@tokens=32", "titok@tokens=64", "other"):
        stored(tmp_path / "runs", name)
    return tmp_path / "runs"


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[figures.Point]]:
    """Return the points of each figure by its file name without suffix; nothing is drawn."""
    drawn: dict[str, list[figures.Point]] = {}

    def keep(found: list[figures.Point], _x: str, _y: str, path: Path, **_: object) -> list[Path]:
        drawn[path.name] = found
        return []

    monkeypatch.setattr(figures, "_draw", keep)
    return drawn


def texts(path: Path) -> list[str]:
    """Return all texts of an SVG file, which has to be well-formed."""
    return ["".join(e.itertext()) for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_every_figure_is_drawn_in_both_formats(runs: Path, tmp_path: Path) -> None:
    written = figures.build(load_results(runs), tmp_path / "build")
    group = "coco__11111111-22222222__n50"
    expected = {f"rate-distortion-{m}-{x}" for m in ("psnr", "lpips_alex", "rfid") for x in ("bits", "tokens")}
    (tmp_path / "build" / "figures" / "rate-distortion-old__x.svg").write_text("of an earlier build")
    figures.build(load_results(runs), tmp_path / "build")
    expected |= {f"quality-speed-{m}" for m in ("psnr", "lpips_alex")}
    assert {p.name for p in written} == {f"{name}__{group}.{kind}" for name in expected for kind in ("svg", "pdf")}
    assert sorted(written) == sorted((tmp_path / "build" / "figures").iterdir())
    shown = texts(tmp_path / "build" / "figures" / f"rate-distortion-psnr-tokens__{group}.svg")
    assert {"titok@tokens=32", "titok@tokens=64", "other", "PSNR (dB) ↑", "Tokens per image", "32", "64"} <= set(shown)
    shown = texts(tmp_path / "build" / "figures" / f"rate-distortion-rfid-bits__{group}.svg")
    assert {"~other", "rFID ↓", "~ too few images: biased upwards"} <= set(shown)


def test_figures_have_the_same_bytes_under_any_matplotlib_settings_and_no_dates(runs: Path, tmp_path: Path) -> None:
    import matplotlib

    def drawn(name: str) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in figures.figures(load_results(runs), tmp_path / name)}

    first = drawn("a")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": None, "pdf.fonttype": 3}):
        assert drawn("b") == first
        assert matplotlib.rcParams["font.size"] == 20
    for name, data in first.items():
        assert b"Date" not in data, name
        assert b"/Type3" not in data, name


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    stored(tmp_path / "runs", "plain")
    stored(tmp_path / "runs", name, **{"tokenizer.family": name, "dataset.name": f"../{name}"})
    stored(tmp_path / "runs", "third", **{"tokenizer.family": name, "dataset.name": f"../{name}"})
    written = figures.figures(load_results(tmp_path / "runs"), tmp_path / "out")
    assert {p.parent for p in written} == {tmp_path / "out"}
    (path,) = (p for p in written if p.name.startswith("rate-distortion-psnr-bits") and p.suffix == ".svg")
    expected = name.replace("\x07", "\ufffd")
    label = expected[:31] + "…" if len(expected) > 32 else expected
    legend = expected[:23] + "…" if len(expected) > 24 else expected
    shown = texts(path)
    assert label in shown
    assert legend in shown


def test_only_comparable_rows_share_a_figure(runs: Path, points: dict[str, list[figures.Point]]) -> None:
    stored(runs, "elsewhere", **{"dataset.name": "mjhq"})
    stored(runs, "other photographs", **{"dataset.sha256": "cd" * 32})
    stored(runs, "other score", **{"protocol.score": "33333333"})
    stored(runs, "identity", **{"metrics.psnr": {"value": 100.0, "ci95": [100.0, 100.0], "n": 50, "capped": 50}})
    stored(runs, "titok+exchanged")
    stored(runs, "unknown bits", **{"tokenizer.bits": None})
    stored(runs, "half", **{"run.dtype": "bfloat16", "run.seed": 3})
    figures.figures(load_results(runs), runs)
    found = points["rate-distortion-psnr-bits__coco__11111111-22222222__n50"]
    assert [p.name for p in found] == ["half bfloat16 seed 3", "other", "titok@tokens=32", "titok@tokens=64"]
    assert [p.curve for p in found] == ["half bfloat16 seed 3", "other", "titok", "titok"]
    assert len({name.split("__", 1)[1] for name in points}) == 4


def test_decoding_time_per_image_counts_only_the_images_timed_on_that_machine(
    runs: Path, points: dict[str, list[figures.Point]]
) -> None:
    about = json.loads((runs / "row2" / "run.json").read_text())
    (runs / "row2" / "run.json").write_text(json.dumps(about | {"device": "A card"}))
    del about["images"]
    (stored(runs, "older") / "run.json").write_text(json.dumps(about))
    (stored(runs, "untimed") / "run.json").write_text(json.dumps(about | {"seconds": {"wall": {}}}))
    (stored(runs, "damaged") / "run.json").write_text("{")
    (stored(runs, "of-texts") / "run.json").write_text('{"machine": "x", "seconds": "x"}')
    stored(runs, "codec", **{"tokenizer.tokens": None})
    figures.figures(load_results(runs), runs)
    name = "quality-speed-psnr__coco__11111111-22222222__n50"
    assert {p.name: p.x for p in points[f"{name}__machine2"]} == {
        "titok@tokens=32": 2.0,
        "titok@tokens=64": 1.0,
        "older": 0.2,
    }
    assert [p.name for p in points[name]] == ["other"]


def test_a_family_has_one_colour_and_one_mark_in_page_and_figures_whatever_else_was_run() -> None:
    known = [families.look(f) for f in families.FAMILIES]
    assert len(set(known)) == len(known)
    assert len({one.colour for one in known[:7]}) == 7
    alone = figures._colours_and_markers(["a plug-in's"])
    assert figures._colours_and_markers(["lactok", "a plug-in's", "another"])["a plug-in's"] == alone["a plug-in's"]
    static = Path(families.__file__).parent / "page" / "static"
    on_paper = re.findall(r"\.series-\d \{ --series: light-dark\((#\w+),", (static / "style.css").read_text())
    assert [colour.upper() for colour in on_paper] == list(families.COLOURS)
    marks = re.search(r"const MARKS = \[(.*?)\];", (static / "scripts" / "plot.js").read_text(), re.S)
    assert marks is not None
    assert marks[1].count("shape:") == len(families.MARKERS)


@pytest.mark.parametrize("largest", [512, 6144, 400_000])
def test_labels_of_the_x_axis_keep_clear_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    points = [figures.Point(f"t{x}", "titok", float(x), 20.0 + i) for i, x in enumerate((384, largest))]
    figures._draw(points, "Bits per image", "PSNR", tmp_path / "figure", base=2)
    figure = drawn[0]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    low, high = figure.axes[0].get_xlim()
    ticks = [t for t in figure.axes[0].xaxis.get_major_ticks() if low <= t.get_loc() <= high and t.label1.get_text()]
    boxes = [t.label1.get_window_extent(canvas.get_renderer()) for t in ticks]
    assert len(boxes) >= 2
    assert all(one.x1 < following.x0 for one, following in pairwise(boxes))


# grids of pictures


def measure_recon(out: Path, *words: str) -> None:
    """Measure reconstructions of 64 pixels into a folder, by PSNR alone, which needs no network."""
    with pytest.raises(SystemExit) as stop:
        measure(["--resolution", "64", "--metrics", "psnr", "--out", str(out), *words])
    assert stop.value.code == 0


def grid(*arguments: object, code: int = 0) -> None:
    """Run `python -m reports grid`, which has to end with this exit code."""
    with pytest.raises(SystemExit) as stop:
        reports.main(["grid", *map(str, arguments)])
    assert stop.value.code == code


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of two tokenizers over eight photographs, each with two stored pictures."""
    root = tmp_path_factory.mktemp("measured")
    (root / "photographs").mkdir()
    for i in range(8):
        photograph(i).save(root / "photographs" / f"{i}_$a.png")
    measure_recon(
        root / "runs", "--tokenizers", "toy resize-8", "--dataset", str(root / "photographs"), "--pictures", "2"
    )
    return root / "runs"


def stored_pictures(runs: Path, name: str) -> tuple[list[dict[str, Any]], Path, Path]:
    """Return the index of a tokenizer's stored pictures, their folder and the folder of the photographs."""
    (path,) = runs.glob(f"{name}__*/images/index.json")
    index = json.loads(path.read_text())
    return index["pictures"], path.parent, runs / "references" / index["references"]


def column_of(file: Path, column: int) -> np.ndarray:
    """Return the pixels of a column of a drawn grid, from its top to its bottom."""
    dpi = sheet.MIN_CELL_PIXELS / sheet.CELL_INCHES
    left = round(sheet.CAPTION_INCHES * dpi) + column * (sheet.MIN_CELL_PIXELS + round(sheet.GAP_INCHES * dpi))
    return np.asarray(Image.open(file).convert("RGB"))[:, left : left + sheet.MIN_CELL_PIXELS]


def cell(file: Path, column: int, row_from_below: int = 0) -> np.ndarray:
    """Return a cell of a drawn grid; rows count from below, because the captions on top have no fixed height."""
    gap = round(sheet.GAP_INCHES * sheet.MIN_CELL_PIXELS / sheet.CELL_INCHES)
    pixels = column_of(file, column)
    bottom = len(pixels) - gap - row_from_below * (sheet.MIN_CELL_PIXELS + gap)
    return pixels[bottom - sheet.MIN_CELL_PIXELS : bottom]


def enlarged(path: Path, box: tuple[int, int, int, int] = (0, 0, 64, 64)) -> np.ndarray:
    """Return a window (left, top, right, bottom) of a picture, enlarged to the size of a cell."""
    size = (sheet.MIN_CELL_PIXELS, sheet.MIN_CELL_PIXELS)
    return np.asarray(Image.open(path).convert("RGB").crop(box).resize(size, Image.Resampling.NEAREST))


def test_a_grid_shows_the_stored_pixels(measured: Path, tmp_path: Path) -> None:
    grid("recon", "--runs", measured, "--samples", "1", "--tokenizers", "resize-8,toy", "--out", tmp_path / "a.png")
    entries, images, references = stored_pictures(measured, "toy")
    file = next(e["file"] for e in entries if "chosen" in e["why"])
    _, others, _ = stored_pictures(measured, "resize-8")
    for column, folder in enumerate((references, others, images)):
        assert np.array_equal(cell(tmp_path / "a.png", column), enlarged(folder / file))


def test_a_grid_of_named_samples_and_a_window(measured: Path, tmp_path: Path) -> None:
    entries, images, _ = stored_pictures(measured, "toy")
    first, second = entries[0], entries[1]
    names = f"{second['sample']},{first['sample']}"
    out = tmp_path / "a.png"
    grid("recon", "--runs", measured, "--samples", names, "--tokenizers", "toy", "--crop", "8,4,32,32", "--out", out)
    for row, entry in enumerate((first, second)):  # rows from below: the sample named first is on top
        assert np.array_equal(cell(out, 1, row), enlarged(images / entry["file"], (8, 4, 40, 36)))


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_a_grid_has_the_same_bytes(measured: Path, tmp_path: Path, kind: str) -> None:
    for name in "ab":
        grid("recon", "--runs", measured, "--samples", "2", "--out", tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_captions_are_wrapped() -> None:
    assert wrap("a photo of\n256 tokens", 9, len) == "a photo\nof\n256\ntokens"
    assert wrap("flextok-d18-d28@tokens=64", 12, len) == "flextok-d18-\nd28@\ntokens=64"
    lines = wrap("x" * 1000, 10, len).split("\n")
    assert len(lines) == 4
    assert lines[-1] == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--samples", "nothing"), "no stored picture of sample 'nothing' for"),
        (("--samples", "nothing"), "--pictures all, with the options of the run"),
        (("--samples", "99"), "have a stored picture in every row"),
        (("--samples", "0"), "1 or more"),
        (("--samples", ","), "empty"),
        (("--tokenizers", "toi"), "unknown tokenizer 'toi', did you mean 'toy'"),
        (("--photographs", "x"), "unknown photographs 'x'"),
        (("--crop", "1,2,3"), "x,y,width,height"),
        (("--crop", "60,0,10,10"), "outside the pictures of 64x64"),
        (("--runs", "no/such"), "no such folder"),
        (("--out", "x.gif"), "a .png or .pdf file"),
    ],
)
def test_a_mistake_of_a_grid_is_one_line(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    grid("recon", "--runs", measured, "--samples", "1", "--out", tmp_path / "x.png", *arguments, code=2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("error: ")
    assert "\n" not in error


def test_rows_of_two_sizes_and_rows_without_pictures(
    measured: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid("recon", "--runs", runs, "--out", tmp_path / "x.png", code=2)
    assert "no stored pictures" in capsys.readouterr().err
    out = tmp_path / "other"
    photographs = measured.parent / "photographs"
    for size in ("64", "32"):
        measure_recon(out, "--tokenizers", "toy", "--dataset", str(photographs), "--resolution", size)
    rows = [path.name for path in out.glob("toy*")]
    grid("recon", "--runs", out, "--out", tmp_path / "x.png", "--tokenizers", *rows, code=2)
    assert "choose by --photographs" in capsys.readouterr().err
    name = sorted(p.name for p in (out / "references").iterdir())[0]
    grid("recon", "--runs", out, "--out", tmp_path / "x.png", "--photographs", name)
    (index,) = (p for p in out.glob("toy*/images/index.json") if name in p.read_text())
    index.write_text(index.read_text().replace('"file": "', '"file": "../'))
    grid("recon", "--runs", out, "--out", tmp_path / "x.png", "--photographs", name, code=2)
    assert "is not a file's name" in capsys.readouterr().err


def generated(root: Path, prompts: list[str], shift: int = 0) -> Path:
    """Write four pictures per prompt in GenEval's layout and return the folder; `shift` changes the pictures."""
    for i, prompt in enumerate(prompts):
        samples = root / f"{i:05}" / "samples"
        samples.mkdir(parents=True)
        metadata = {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": prompt}
        (samples.parent / "metadata.jsonl").write_text(json.dumps(metadata))
        for j in range(4):
            photograph(shift + i * 10 + j, 64, 64).save(samples / f"{j:04}.png")
    return root


def test_generated_pictures_by_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = generated(tmp_path / "one", ["a cat", "a dog", "a cow"])
    other = generated(tmp_path / "other", ["a cow", "a cat"], shift=500)
    out = tmp_path / "x.png"
    grid("generation", "--folders", one, other, "--prompts", "00002,00000", "--out", out)
    # a row is of one prompt, which may have different numbers in the two folders
    expected = [[one / "00002", other / "00000"], [one / "00000", other / "00001"]]
    for row, folders in enumerate(expected[::-1]):
        for column, folder in enumerate(folders):
            assert np.array_equal(cell(out, column, row), enlarged(folder / "samples" / "0000.png"))
    # of one system alone: side by side, by task
    grid("generation", "--folders", one, "--prompts", "00002,00000", "--out", out)
    for column, folder in enumerate(("00002", "00000")):
        shown = enlarged(one / folder / "samples" / "0000.png")
        drawn = column_of(out, column)
        assert any(np.array_equal(drawn[top : top + len(shown)], shown) for top in range(len(drawn) - len(shown) + 1))
    # without --prompts: the two prompts that both folders have
    grid("generation", "--folders", one, other, "--out", tmp_path / "y.pdf")
    assert (tmp_path / "y.pdf").read_bytes()[:4] == b"%PDF"
    for prompts, message in (
        ("3", "between 1 and 2"),
        ("00001", "('a dog') is not in all folders"),
        ("00009", "no folder 00009"),
    ):
        grid("generation", "--folders", one, other, "--prompts", prompts, "--out", out, code=2)
        assert message in capsys.readouterr().err
    (one / "00000" / "samples" / "0000.png").write_bytes(b"no picture")
    grid("generation", "--folders", one, "--prompts", "00000", "--out", out, code=2)
    assert "'a cat' (00000) cannot be read: not an image" in capsys.readouterr().err
