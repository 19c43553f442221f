"""What a user says of a Ray cluster, before Ray is imported; and what is said where it cannot be had."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
from recon_command import run

import lactok
from lactok.errors import ClusterError, WrongValue
from lactok.evaluation.cluster import Cluster, show_token
from lactok.evaluation.config import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "dask"}, "`engine` dask: one of local, ray"),
        ({"ray_address": "auto"}, "`ray_address` is of a Ray cluster: say `engine` ray too"),
        ({"ray_resources": "cpu=1"}, "`ray_resources` is of a Ray cluster"),
        ({"engine": "ray", "ray_address": ""}, "`ray_address` '': a text"),
        ({"engine": "ray", "ray_address": "head"}, "write HOST:PORT, as in 10.0.0.1:6379, or auto"),
        ({"engine": "ray", "ray_address": "head:99999"}, "write HOST:PORT"),
        ({"engine": "ray", "ray_address": "ray://head:10001"}, "the command runs on one of the cluster's machines"),
        ({"engine": "ray", "ray_resources": "4"}, "write NAME=AMOUNT, separated by commas, as in gpu=0.5,cpu=4"),
        ({"engine": "ray", "ray_resources": "cpu=x"}, "write NAME=AMOUNT"),
        ({"engine": "ray", "ray_resources": "cpu=-1"}, "write NAME=AMOUNT"),
        ({"engine": "ray", "ray_resources": "gpu=1.5"}, "above 1 it is a whole number"),
        ({"engine": "ray", "ray_resources": "cpu=1,CPU=2"}, "names cpu twice"),
        ({"engine": "ray", "device": "cuda:1"}, "each task gets a GPU of its own; say cuda"),
    ],
)
def test_what_is_wrong_in_itself(settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lactok.evaluation.ray_engine", raising=False)
    with pytest.raises(WrongValue, match=message):
        Settings(**settings).check()  # type: ignore[arg-type]
    assert "lactok.evaluation.ray_engine" not in sys.modules  # it would take seconds


def test_what_a_task_takes() -> None:
    assert Cluster().for_task("cpu", 3) == {"cpu": 3, "gpu": 0}
    assert Cluster().for_task("cuda", 3) == {"cpu": 1, "gpu": 1}
    asked = Settings(engine="ray", ray_resources="gpu=0.25,TPU=2").execution().cluster
    assert asked is not None
    assert asked.for_task("cuda", 3) == {"cpu": 1, "gpu": 0.25, "TPU": 2}
    with pytest.raises(WrongValue, match="a task needs a GPU"):
        Cluster(resources=(("gpu", 0.0),)).for_task("cuda", 3)


def test_workers_of_each_engine() -> None:
    assert Settings().execution().workers == 1
    assert Settings().execution().cluster is None
    cluster = Settings(engine="ray").execution().cluster
    assert cluster == Cluster(workers=None)
    cluster = Settings(engine="ray", workers=7, ray_address="auto").execution().cluster
    assert cluster == Cluster("auto", (), 7)


def test_a_loaded_tokenizer_stays_in_its_process(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(WrongValue, match="`engine` ray: a loaded tokenizer computes in this process"):
        lactok.evaluate(lactok.load("toy"), engine="ray", out=tmp_path)


def test_without_ray_the_extra_is_named(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    run(tmp_path / "out", "--tokenizers", "resize-8", "--dataset", str(photographs), "--engine", "ray", code=2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "needs the package ray; install it with: pip install 'lactok[scale]'" in error


@pytest.mark.slow
def test_an_address_where_nobody_answers(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = ("--tokenizers", "resize-8", "--dataset", str(photographs), "--engine", "ray")
        run(tmp_path / "out", *arguments, "--ray-address", address, code=2)
        assert f"--ray-address {address}: nothing answers there" in capsys.readouterr().err
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
        with pytest.raises(
            ClusterError, match=r"RAY_ADDRESS http://127\.0\.0\.1:8265: the address is that of the cluster's"
        ):
            lactok.evaluate("resize-8", dataset=str(photographs), engine="ray", metrics="psnr", out=tmp_path / "out")


def test_a_machine_s_token_is_shown_to_a_cluster_that_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray start` asks for the token that a machine has, and Ray's `init` with an address did not show it."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    monkeypatch.delitem(sys.modules, "ray", raising=False)

    def mode(address: str | None) -> str | None:
        monkeypatch.setenv("RAY_AUTH_MODE", "")  # so that it is as before after the test
        del os.environ["RAY_AUTH_MODE"]
        show_token(address)
        return os.environ.get("RAY_AUTH_MODE")

    assert mode("10.0.0.1:6379") is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert mode("10.0.0.1:6379") == "token"
    assert mode(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert mode(None) == "token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    show_token("auto")
    assert os.environ["RAY_AUTH_MODE"] == "disabled"

    # a Ray that is loaded has read the mode: its own cluster, started later, asked for a token that nobody showed
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    assert mode("10.0.0.1:6379") is None
