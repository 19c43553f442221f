"""`lactok.evaluate` and its neighbours: what the commands measure, from Python."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Toy, photograph
from PIL import Image
from recon_command import run, stable_bytes

import lactok
from lactok import images
from lactok.evaluation.results import ReconResult

FAST = {"resolution": 64, "metrics": "psnr,ssim"}
CLASS = '''
import torch
import lactok

SHIFT = 0


class Grey(lactok.Tokenizer):
    """Three times the mean brightness, at `levels` values each."""

    spec = lactok.TokenizerSpec(
        "grey", "test", 3, 64, 32, 32, "MIT", options={"levels": lactok.Option(64, "of brightness", low=2, high=64)}
    )

    def _encode(self, images, seeds):
        levels = int(self.spec.values.get("levels", 64))
        level = (images.mean((1, 2, 3)) * (levels - 1)).round().long() + SHIFT
        return level[:, None].expand(-1, 3).clone()

    def _decode(self, ids, seeds):
        levels = int(self.spec.values.get("levels", 64))
        return (ids[:, :1, None, None] / (levels - 1)).float().expand(-1, 3, 32, 32)


class Silent(lactok.Tokenizer):
    pass
'''


@pytest.fixture
def measured(photographs: Path, tmp_path: Path) -> Callable[..., ReconResult]:
    """`lactok.evaluate` on twelve of the photographs."""

    def evaluate(tokenizer: Any, out: str = "out", **settings: Any) -> ReconResult:
        given = {"dataset": str(photographs), "limit": 12, "out": tmp_path / out, **FAST, **settings}
        return lactok.evaluate(tokenizer, **given)

    return evaluate


def test_the_function_writes_what_the_command_writes(
    photographs: Path, tmp_path: Path, measured: Callable[..., ReconResult], capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "command", "--tokenizers", "jpeg@bits=900 toy", "--dataset", str(photographs), "--limit", "12")
    shown = capsys.readouterr().out
    result = measured("toy")
    measured("jpeg@bits=900")
    assert stable_bytes(tmp_path / "command") == stable_bytes(tmp_path / "out")
    assert lactok.load_results(tmp_path / "command").table() in shown
    assert lactok.load_results(tmp_path / "out").table() in shown
    assert [r.label for r in lactok.load_results(tmp_path / "out")] == ["jpeg@bits=900", "toy"]
    assert result["psnr"].n == result.n == len(result.records) == 12
    assert result["psnr"].value == pytest.approx(result.records["psnr"].mean())
    low, high = result["psnr"].ci95
    assert low < result["psnr"].value < high
    assert json.loads((result.folder / "result.json").read_text()) == result.result


def test_metrics_are_a_text_or_a_list(measured: Callable[..., ReconResult]) -> None:
    assert list(measured("toy", metrics=["psnr"]).metrics) == ["psnr"]
    both = measured("toy", metrics="psnr,ssim")
    assert list(both.metrics) == list(measured("toy", metrics=["ssim", "psnr"]).metrics) == ["psnr", "ssim"]
    with pytest.raises(KeyError, match="has no rfid; it has psnr, ssim"):
        both["rfid"]


class Weighted(lactok.Tokenizer):
    """The toy with a weight that brightens what it decodes."""

    toy = (lactok.load("toy"),)  # in a tuple, so that its counter is no setting of this class

    def __init__(self, spec: lactok.TokenizerSpec | None = None):
        super().__init__(spec)
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.scale = 1.0

    def _encode(self, images: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return self.toy[0].encode(images, seeds)

    def _decode(self, ids: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return self.toy[0].decode(ids, seeds) * self.gain * self.scale


@pytest.mark.slow
def test_a_tokenizer_at_hand(measured: Callable[..., ReconResult], toy_calls: type[Toy]) -> None:
    named, own = measured("toy", "named"), measured(lactok.load("toy"), "own")
    assert own.metrics == named.metrics
    assert own.records.equals(named.records)
    assert own.label == "toy"
    toy_calls.calls = 0
    tokenizer = Weighted(lactok.spec("toy")).eval()
    first = measured(tokenizer, "weighted")
    assert first.metrics == named.metrics
    measured(tokenizer, "weighted")
    assert toy_calls.calls == 12
    with torch.no_grad():
        tokenizer.gain[0] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    measured(tokenizer, "weighted")
    assert toy_calls.calls == 24
    tokenizer.scale = 0.5
    darker = measured(tokenizer, "weighted")
    assert toy_calls.calls == 36
    assert lactok.compare(first, darker)["psnr"].difference.value != 0
    with pytest.raises(ValueError, match="`workers` 2"):
        measured(tokenizer, workers=2)


@pytest.mark.slow
def test_an_object_is_known_by_its_code(measured: Callable[..., ReconResult], tmp_path: Path) -> None:
    """As in a notebook, where a class is written again, or changed, under its name."""
    found = []
    for text in (
        CLASS,
        CLASS.replace("SHIFT = 0", "SHIFT = 1"),
        CLASS.replace("* (levels - 1)", "* (levels - 2)"),
        CLASS,
    ):
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(text, names)
        found.append(measured(names["Grey"]()))
    first, shifted, darker, again = (r.result["tokenizer"]["code"] for r in found)
    assert first == again
    assert len({first, shifted, darker}) == 3
    assert found[0].metrics == found[3].metrics
    assert found[0].metrics != found[1].metrics != found[2].metrics
    assert lactok.compare(found[0], found[1])["psnr"].difference.value != 0
    (tmp_path / "mine.py").write_text(CLASS)
    one = measured(lactok.load(f"{tmp_path}/mine.py:Grey"))
    (tmp_path / "mine.py").write_text(CLASS.replace("SHIFT = 0", "SHIFT = 1"))
    two = measured(lactok.load(f"{tmp_path}/mine.py:Grey"))
    assert (one.metrics, two.metrics) == (found[0].metrics, found[1].metrics)
    with pytest.raises(
        ValueError, match=r"`tokenizer` llamagen-vq16-tiny: it has no weights; take it from lactok.load"
    ):
        measured(lactok.build("llamagen-vq16-tiny"))


def test_a_network_that_was_built_is_measured_with_weights_alone(measured: Callable[..., ReconResult]) -> None:
    small: dict[str, Any] = {"limit": 1, "resolution": None}
    loaded, built = lactok.load("llamagen-vq16-tiny"), lactok.build("llamagen-vq16-tiny", "cpu").requires_grad_(False)
    with pytest.raises(ValueError, match="it has no weights; take it from"):
        measured(built, **small)
    built.load_state_dict(loaded.state_dict())
    found = [measured(tokenizer, **small) for tokenizer in (built, loaded)]
    assert found[0].result == found[1].result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (".expand(-1, 3, 16, 16)", r"returns images \(1, 3, 16, 16\); its spec promises \(1, 3, 32, 32\)"),
        (".expand(-1, 3, 32, 32).mul(255).byte()", "returns torch.uint8 images; they are floating point"),
        (".expand(-1, 3, 32, 32).numpy()", "returns ndarray instead of a tensor of images"),
    ],
)
def test_what_a_decoder_returns_is_checked(measured: Callable[..., ReconResult], change: str, message: str) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CLASS.replace(".expand(-1, 3, 32, 32)", change), names)
    with pytest.raises(ValueError, match=message):
        measured(names["Grey"]())


def test_arguments_that_are_no_tensors() -> None:
    tokenizer = lactok.load("toy")
    for call, argument in (
        (lambda: tokenizer.encode(np.zeros((1, 3, 32, 32), np.float32)), "images"),
        (lambda: tokenizer.encode(torch.zeros(1, 3, 32, 32), [1]), "seeds"),
        (lambda: tokenizer.decode([[1, 2]]), "ids"),
    ):
        with pytest.raises(ValueError, match=f"`{argument}` [a-z]+: a torch tensor"):
            call()
    with pytest.raises(ValueError, match="`name` None: a text"):
        lactok.spec(None)  # type: ignore[arg-type]
    assert lactok.load("toy", dtype="bfloat16").dtype == torch.bfloat16
    with pytest.raises(ValueError, match="`dtype` 'bf16': not a torch dtype"):
        lactok.load("toy", dtype="bf16")


def test_an_edited_file_is_compared_with_what_it_was(
    file: Path, measured: Callable[..., ReconResult], caplog: pytest.LogCaptureFixture
) -> None:
    """Both results lie in one folder, of which the second is the last."""
    before = measured(f"{file}:Grey")
    assert measured(f"{file}:Grey").result == before.result
    assert "is replaced" not in caplog.text
    file.write_text(CLASS.replace("SHIFT = 0", "SHIFT = 1"))
    after = measured(f"{file}:Grey")
    assert before.folder == after.folder
    assert f"grey: the result of its earlier code or weights in {after.folder} is replaced" in caplog.text
    difference = lactok.compare(before, after)["psnr"].difference.value
    assert difference is not None
    assert after["psnr"].value is not None
    assert before["psnr"].value is not None
    assert difference == pytest.approx(after["psnr"].value - before["psnr"].value)
    assert difference != 0


def test_a_folder_of_reconstructions(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(photographs, tmp_path / "copies")
    settings: dict[str, Any] = {"references": photographs, "bits": 99, "out": tmp_path / "out", "limit": 5, **FAST}
    result = lactok.evaluate(tmp_path / "copies", **settings)
    assert (result["psnr"].value, result.n, result.data.tokenizer.bits) == (100, 5, 99)
    for path in (tmp_path / "copies").iterdir():
        photograph(500).save(path)
    changed = lactok.evaluate(tmp_path / "copies", **settings)
    assert changed["psnr"].value is not None
    assert changed["psnr"].value < 20
    (tmp_path / "copies").rename("copies")
    assert lactok.evaluate("copies", **settings)["psnr"] == changed["psnr"]
    Path("copies").rename(tmp_path / "copies")
    with pytest.raises(ValueError, match="`bits` -1: a number above 0"):
        lactok.evaluate(tmp_path / "copies", **settings | {"bits": -1})
    with pytest.raises(FileNotFoundError, match="`references`: no such folder"):
        lactok.evaluate(tmp_path / "copies", references=tmp_path / "none", out=tmp_path / "out")
    with pytest.raises(ValueError, match="`references`: name the folder of photographs"):
        lactok.evaluate(tmp_path / "copies", out=tmp_path / "out")
    with pytest.raises(ValueError, match="`bits` is of a folder of reconstructions"):
        lactok.evaluate("toy", bits=3, out=tmp_path / "out")
    with pytest.raises(ValueError, match="`dataset`: the photographs are those of `references`"):
        lactok.evaluate(tmp_path / "copies", dataset="coco", **settings)


def test_a_photograph_that_changed_is_measured_anew(
    photographs: Path, measured: Callable[..., ReconResult], toy_calls: type[Toy]
) -> None:
    before = measured("toy", limit=None)
    photograph(999).save(photographs / "069.png")
    after = measured("toy", limit=None)
    assert toy_calls.calls == 70 + 6
    assert (before.records["psnr"] != after.records["psnr"]).tolist() == [False] * 69 + [True]


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"metric": "psnr"}, TypeError, "lactok.evaluate has no argument metric"),
        ({"limit": 0}, ValueError, "`limit` 0: 1 or more"),
        ({"batch_size": 0}, ValueError, "`batch_size` 0: 1 or more"),
        ({"limit": "3"}, ValueError, "`limit` '3': a whole number, 1 or more"),
        ({"limit": 2.5}, ValueError, "`limit` 2.5: a whole number"),
        ({"limit": True}, ValueError, "`limit` True: a whole number"),
        ({"threads": None}, ValueError, "`threads` None: 0 or more"),
        ({"seed": "1"}, ValueError, "`seed` '1': a whole number"),
        ({"resolution": "64"}, ValueError, "`resolution` '64': a whole number, between"),
        ({"metrics": 3}, ValueError, "`metrics` 3: default, all, keys"),
        ({"metrics": [3]}, ValueError, "`metrics` [3]: default, all, keys"),
        ({"part": (1, 2)}, ValueError, "`part` (1, 2): a text"),
        ({"dataset": ["a.png"]}, ValueError, "`dataset` ['a.png']: a text"),
        ({"dataset": ""}, ValueError, "`dataset` is empty"),
        ({"dataset": Path("no-such")}, FileNotFoundError, "`dataset` ./no-such: no such folder"),
        ({"device": 0}, ValueError, "`device` 0: not a device"),
        ({"out": None}, ValueError, "`out` None: a text or a path"),
        ({"tokenizer": None}, ValueError, "`tokenizer` NoneType: give a name"),
        ({"tokenizer": Path("no/such")}, FileNotFoundError, "`tokenizer`: no such folder no/such"),
        ({"tokenizer": "./mine.py"}, ValueError, "./mine.py: name the class in it too, as in ./mine.py:Mine"),
        ({"tokenizer": lactok.load("resize-8"), "dtype": torch.bfloat16}, ValueError, "is loaded with float32"),
        ({"tokenizer": lactok.load("resize-8"), "references": "x"}, ValueError, "`references` is of a folder"),
        ({"dtype": "int8"}, ValueError, "`dtype` int8: one of float32"),
        ({"part": "3/2"}, ValueError, "`part` 3/2: write I/N"),
        ({"pictures": "some"}, ValueError, "`pictures` some: write a number"),
        ({"device": "toaster"}, ValueError, "`device` toaster: not a device"),
        ({"metrics": "pnsr"}, KeyError, "unknown metric 'pnsr', did you mean 'psnr'"),
        ({"metrics": "label_agrement"}, KeyError, "did you mean 'label_agreement'"),
        ({"metrics": "all,psnr"}, ValueError, "all stands alone; name the metrics instead"),
        ({"metrics": []}, ValueError, "`metrics` is empty"),
        ({"protocol": "paper"}, KeyError, "unknown protocol 'paper', did you mean 'paper-1024'"),
        ({"tokenizer": "toi"}, KeyError, "unknown tokenizer 'toi', did you mean 'toy'"),
        ({"tokenizer": "jpeg@bits=many"}, ValueError, "not an integer"),
        ({"dataset": "coko"}, KeyError, "unknown data set 'coko'"),
        ({"dataset": "no/such"}, FileNotFoundError, "no such folder"),
        ({"weights": "no/such"}, FileNotFoundError, "no such folder"),
        ({"tokenizer": Path("no/such"), "references": "no/such"}, FileNotFoundError, "no such folder"),
    ],
)
def test_mistakes_are_of_the_kinds_that_python_users_know(
    tmp_path: Path, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    given = {"tokenizer": "toy", "out": tmp_path / "out"} | settings
    with pytest.raises(kind) as caught:
        lactok.evaluate(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kind is TypeError or isinstance(caught.value, lactok.UserError)


def test_two_results_are_compared(measured: Callable[..., ReconResult]) -> None:
    toy, coarse = measured("toy"), measured("resize-8")
    found = lactok.compare(toy, coarse)
    difference = (coarse.records["psnr"] - toy.records["psnr"]).mean()
    assert found["psnr"].difference.value == pytest.approx(difference)
    assert found["psnr"].better == ("second" if difference > 0 else "first")
    assert [cell.strip() for cell in found.table().splitlines()[0].split("|")[2:5]] == ["toy", "resize-8", "difference"]
    assert found.table().splitlines()[2].split("|")[-2].strip() == ("resize-8" if difference > 0 else "toy")
    assert lactok.compare(toy, toy)["psnr"].better == ""
    assert lactok.compare(toy, toy).table().splitlines()[0].split("|")[2].strip() == "first"
    with pytest.raises(KeyError, match="unknown metric of both 'rfid'"):
        found["rfid"]
    with pytest.raises(ValueError, match=r"str: no result; give two of lactok.evaluate"):
        lactok.compare(toy, "toy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be compared"):
        lactok.compare(toy, measured("toy", resolution=96))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CLASS)
    return path


def test_a_class_of_a_file(photographs: Path, tmp_path: Path, file: Path, measured: Callable[..., ReconResult]) -> None:
    result = measured(f"{file}:Grey")
    arguments = ("--dataset", str(photographs), "--limit", "12")
    run(tmp_path / "command", "--tokenizers", f"{file}:Grey", *arguments)
    assert stable_bytes(tmp_path / "command") == stable_bytes(tmp_path / "out")
    assert result.label == "grey"
    levels = measured(f"{file}:Grey@levels=2", "levels")
    assert levels.label == "grey@levels=2"
    assert set(np.load(levels.folder / "tokens.npz")["ids"].ravel()) <= {0, 1}
    file.write_text(CLASS.replace("SHIFT = 0", "SHIFT = 1"))
    edited = measured(f"{file}:Grey")
    ids = [np.load(r.folder / "tokens.npz")["ids"] for r in (lactok.load_results(tmp_path / "command")[0], edited)]
    assert (ids[1] - ids[0] == 1).all()
    assert edited.result["tokenizer"]["code"] != result.result["tokenizer"]["code"]


def test_modules_beside_a_file(
    tmp_path: Path, measured: Callable[..., ReconResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file imports those of its own folder, and what they say decides what is computed."""
    monkeypatch.setattr("sys.path", [p for p in sys.path if p])  # as the script `lactok` has it
    results = []
    for folder, shift in (("a", 0), ("b", 1), ("a", 1)):
        for inside in ("settings", "bare", "lactok"):  # the last as where a clone lies beside the file
            (tmp_path / folder / inside).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "settings" / "__init__.py").write_text("from .values import SHIFT\n")
        (tmp_path / folder / "bare" / "one.py").write_text("from settings import SHIFT\n")
        (tmp_path / folder / "settings" / "values.py").write_text(f"SHIFT = {shift}\n")
        (tmp_path / folder / "mine.py").write_text(CLASS.replace("SHIFT = 0", "from bare.one import SHIFT"))
        results.append(measured(f"{tmp_path / folder / 'mine.py'}:Grey", f"out-{len(results)}"))
    ids = [np.load(r.folder / "tokens.npz")["ids"] for r in results]
    assert (ids[1] - ids[0] == 1).all()
    assert (ids[2] == ids[1]).all()
    codes = [r.result["tokenizer"]["code"] for r in results]
    assert codes[0] != codes[1] == codes[2]
    assert not {"settings", "settings.values", "bare", "bare.one"} & sys.modules.keys()
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("{file}:Gray", KeyError, "unknown class of {file} 'Gray', did you mean 'Grey'? Available: Grey, Silent"),
        ("{file}:Silent", ValueError, "does not say what it is: give the class `spec = lactok.TokenizerSpec"),
        ("{folder}/none.py:Grey", FileNotFoundError, "no such file {folder}/none.py; write FILE.py:CLASS"),
        ("{folder}/bad.py:Grey", ValueError, "bad.py cannot be imported: SyntaxError"),
        ("{folder}/taken.py:Grey", ValueError, "is named 'identity': a tokenizer of lactok has that name too"),
        ("{folder}/odd.py:Grey", ValueError, "is named '../grey': a tokenizer of lactok cannot have that name"),
        ("{file}:Grey@level=2", KeyError, "unknown option of grey 'level', did you mean 'levels'"),
    ],
)
def test_a_wrong_file_is_one_line(
    tmp_path: Path,
    photographs: Path,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    kind: type[Exception],
    message: str,
) -> None:
    (tmp_path / "bad.py").write_text("class Grey(\n")
    (tmp_path / "taken.py").write_text(CLASS.replace('"grey"', '"identity"'))
    (tmp_path / "odd.py").write_text(CLASS.replace('"grey"', '"../grey"'))
    name, message = (text.format(file=file, folder=tmp_path) for text in (name, message))
    with pytest.raises(kind) as caught:
        lactok.evaluate(name, dataset=str(photographs), out=tmp_path / "out")
    assert message in str(caught.value)
    run(tmp_path / "out", "--tokenizers", name, "--dataset", str(photographs), code=2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0


def test_one_picture_of_any_kind(tmp_path: Path) -> None:
    tokenizer, picture = lactok.load("toy"), photograph(3)
    picture.save(tmp_path / "a.png")
    found = [tokenizer.reconstruct_image(p) for p in (tmp_path / "a.png", str(tmp_path / "a.png"), picture)]
    found.append(tokenizer.reconstruct_image(np.asarray(picture)))
    assert {f.tobytes() for f in found} == {found[0].tobytes()}
    assert found[0].size == (32, 32)
    reference = images.prepare(picture, images.Prepare(32))
    image = torch.from_numpy(reference.copy()).permute(2, 0, 1)[None].float() / 255
    expected = (tokenizer.decode(tokenizer.encode(image))[0] * 255).round().byte().permute(1, 2, 0)
    assert np.array_equal(np.asarray(found[0]), expected)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "b.png", exif=exif)
    turned = tokenizer.reconstruct_image(picture.transpose(Image.Transpose.ROTATE_180))
    assert tokenizer.reconstruct_image(tmp_path / "b.png").tobytes() == turned.tobytes() != found[0].tobytes()
    empty, four = np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)
    for wrong in (np.zeros((4, 4, 3)), four, empty, None, torch.zeros(3, 4, 4)):
        with pytest.raises(ValueError, match=r"a picture (is|has)"):
            tokenizer.reconstruct_image(wrong)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"no such file .*none.png"):
        tokenizer.reconstruct_image(tmp_path / "none.png")


def test_names_and_specs() -> None:
    assert lactok.list_tokenizers("resize-*") == ["resize-8", "resize-12", "resize-16", "resize-256"]
    assert {"titok-s128", "titok-b64"} <= set(lactok.list_tokenizers("titok"))
    assert "toy" in lactok.list_tokenizers(lambda spec: spec.family == "test")
    assert lactok.list_tokenizers("no such") == []
    assert "sdxl" in lactok.list_generators("sd")
    assert lactok.spec("flextok-d18-d28", tokens=64).name == "flextok-d18-d28@tokens=64"
    assert lactok.spec("sdxl").condition == "text"
    with pytest.raises(KeyError, match="unknown tokenizer or generator 'sdxxl'"):
        lactok.spec("sdxxl")
    assert lactok.load("jpeg", bits=4000).spec.name == lactok.load("jpeg@bits=4000").spec.name == "jpeg@bits=4000"
    with pytest.raises(KeyError, match="unknown option of jpeg 'bit'"):
        lactok.load("jpeg", bit=3)
    with pytest.raises(ValueError, match="between 64"):
        lactok.load("jpeg", bits=1)


@pytest.mark.parametrize(
    ("former", "today"),
    [
        ("TokenizerInfo", "TokenizerSpec"),
        ("GeneratorInfo", "GeneratorSpec"),
        ("Registry", "PackageIndex"),
        ("info", "spec"),
        ("generator_info", "spec"),
        ("names", "list_tokenizers"),
        ("generators", "list_generators"),
    ],
)
def test_former_names_warn(former: str, today: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"lactok.{former} is lactok.{today} now"):
        assert getattr(lactok, former) is getattr(lactok, today)
