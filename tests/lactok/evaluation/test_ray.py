"""Runs on a Ray cluster: the bytes of one process, whatever dies; nothing finished is computed twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import photograph
from recon_command import FAST, stable_bytes
from reference import ROOT

import lactok
from lactok.errors import ClusterError, DiskError, UserError, WrongValue
from lactok.evaluation import datasets, protocol, ray_engine
from lactok.evaluation.cluster import Cluster
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.measuring import evaluate_source
from lactok.evaluation.results import ReconResult
from lactok.evaluation.sources import TokenizerSource

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="ray is not installed")
from lactok.evaluation.ray_worker import Facts  # noqa: E402

COUNTING = f"{ROOT / 'tests' / 'counting.py'}:Counting"
SHARD = 5  # images
IMAGES = 35  # seven shards
SCRIPT = f"""
import sys
from lactok.evaluation import datasets
datasets.SHARD = {SHARD}
from benchmarks.recon import __main__ as recon
recon.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A small Ray cluster that runs before the commands do, and this process is connected to; its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        ray_engine.connect(Cluster(workers=7), {"cpu": 1})
        yield ray.get_runtime_context().gcs_address
        ray_engine.end()
        assert not ray.is_initialized()


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs for seven shards."""
    folder = tmp_path_factory.mktemp("seven") / "photographs"
    folder.mkdir()
    for i in range(IMAGES):
        photograph(i).save(folder / f"{i:03}.png")
    return folder


@pytest.fixture(scope="module")
def expected(seven: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of one process."""
    out = tmp_path_factory.mktemp("expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "SHARD", SHARD)
        assert measured(seven, out, None) is not None
    return stable_bytes(out)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tokenizer writes down what it encodes; shards are small."""
    monkeypatch.setattr(datasets, "SHARD", SHARD)
    monkeypatch.setenv("LACTOK_TEST_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def measured(photographs: Path, out: Path, cluster: Cluster | None, tokenizer: str = COUNTING) -> ReconResult | None:
    """Measure in this process what the command measures."""
    run = Run(protocol.get("square-256", 64, "psnr,ssim"), threads=1)
    data = datasets.get(str(photographs))
    return evaluate_source(TokenizerSource(tokenizer), data, run, Execution(out, cluster=cluster))


def encoded(log: Path) -> Counter[str]:
    """How often each image was encoded, by its seed."""
    return Counter(line.split()[1] for line in log.read_text().splitlines())


def processes(log: Path) -> set[int]:
    return {int(line.split()[0]) for line in log.read_text().splitlines()}


def command(photographs: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    arguments = [*FAST, "--tokenizers", COUNTING, "--dataset", str(photographs), "--threads", "1", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments, *more],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(what: Any, running: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; a command that has ended meanwhile has failed."""
    while not what():
        assert running is None or running.poll() is None, running.communicate()
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("shared", [True, False], ids=["out is seen", "out is not seen"])
def test_seven_workers_give_the_bytes_of_one_process(
    cluster: str,
    seven: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
) -> None:
    monkeypatch.setenv("LACTOK_TEST_FAULT", f"meet {tmp_path / 'once'}")
    found = measured(seven, tmp_path / "out", Cluster(shared=shared))
    assert found is not None
    assert stable_bytes(tmp_path / "out") == expected
    assert set(encoded(log).values()) == {1}
    assert len(encoded(log)) == IMAGES
    assert len(processes(log)) > 1
    assert not list((tmp_path / "out").rglob("*.part"))
    log.unlink()
    assert measured(seven, tmp_path / "out", Cluster(shared=shared)) is not None
    assert not log.exists()


@pytest.mark.parametrize("shared", [True, False], ids=["out is seen", "out is not seen"])
def test_a_worker_is_killed_mid_shard(
    cluster: str,
    seven: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    shared: bool,
) -> None:
    monkeypatch.setenv("LACTOK_TEST_FAULT", f"kill {tmp_path / 'once'}")
    assert measured(seven, tmp_path / "out", Cluster(workers=2, shared=shared)) is not None
    assert stable_bytes(tmp_path / "out") == expected
    assert sum(encoded(log).values()) <= IMAGES + SHARD  # what was not finished is done again
    assert "its shard is done again" in caplog.text


def test_a_shard_that_kills_every_worker_is_one_line(
    cluster: str, seven: Path, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACTOK_TEST_FAULT", "poison 0")
    monkeypatch.setattr(ray_engine, "TRIES", 2)
    with pytest.raises(UserError, match=r"the shard that begins with .* died, 2 times in a row") as error:
        measured(seven, tmp_path / "out", Cluster(workers=1))
    assert not isinstance(error.value, ClusterError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("mistake", WrongValue, "the planted mistake"),
        ("bug", LookupError, "the planted bug"),
        ("full", DiskError, "no space left in"),
    ],
)
def test_errors_arrive_as_themselves(
    cluster: str,
    seven: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    error: type[Exception],
    message: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("LACTOK_TEST_FAULT", f"{kind} {tmp_path / 'once'}")
        with pytest.raises(error, match=message) as raised:
            measured(seven, tmp_path / "out", Cluster(workers=1))
    if kind == "bug":
        assert "counting.py" in "".join(raised.value.__notes__)
    else:
        assert "\n" not in str(raised.value)
    assert measured(seven, tmp_path / "out", None) is not None  # it goes on where it stopped
    assert stable_bytes(tmp_path / "out") == expected


def test_a_damaged_shard_is_made_again(
    cluster: str,
    seven: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
    log: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert measured(seven, tmp_path / "out", None) is not None
    log.unlink()
    ids, *_ = sorted((tmp_path / "out" / "store" / "ids").glob("*/*.npz"))
    ids.write_bytes(ids.read_bytes()[:100])
    assert measured(seven, tmp_path / "out", Cluster(workers=1)) is not None
    assert sum(encoded(log).values()) == SHARD
    assert stable_bytes(tmp_path / "out") == expected
    assert "is damaged" in caplog.text


def test_the_run_is_killed_and_started_again(
    cluster: str, seven: Path, expected: dict[str, bytes], tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACTOK_TEST_PAUSE", "0.2")
    arguments = (seven, tmp_path / "out", "--engine", "ray", "--ray-address", cluster, "--workers", "1")
    first = command(*arguments)
    wait_for(lambda: list((tmp_path / "out" / "store").glob("scores/*/*.npz")), first)
    first.kill()
    first.communicate()
    wait_for(lambda: not any(alive(process) for process in processes(log)))
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("store/scores/*/*.npz")}
    assert 0 < len(finished) < IMAGES / SHARD
    second = command(*arguments)
    output, error = second.communicate()
    assert second.returncode == 0, error
    assert "counting" in output
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert stable_bytes(tmp_path / "out") == expected
    assert sum(encoded(log).values()) <= IMAGES + SHARD
    assert not list((tmp_path / "out").glob(".*.part"))


def test_two_runs_into_one_folder_at_once(
    cluster: str, seven: Path, expected: dict[str, bytes], tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on Ray and one in a process of its own; both wait until both have begun."""
    monkeypatch.setenv("LACTOK_TEST_HOLD", str(tmp_path / "begin"))
    commands = [
        command(seven, tmp_path / "out", "--engine", "ray", "--ray-address", cluster, "--workers", "2"),
        command(seven, tmp_path / "out"),
    ]
    wait_for(lambda: list((tmp_path / "out").glob(".probe*")), commands[0])
    (tmp_path / "begin").write_text("")
    for started in commands:
        _, error = started.communicate()
        assert started.returncode == 0, error
    assert stable_bytes(tmp_path / "out") == expected
    assert max(encoded(log).values()) <= 2
    log.unlink()
    assert measured(seven, tmp_path / "out", None) is not None
    assert not log.exists()


def test_ctrl_c_ends_a_cluster_that_was_started_here(
    seven: Path, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("LACTOK_TEST_PAUSE", "0.2")
    started = command(seven, tmp_path / "out", "--engine", "ray", "--workers", "1")
    wait_for(log.exists, started)
    started.send_signal(signal.SIGINT)
    _, error = started.communicate()
    assert started.returncode == 130
    assert "interrupted; run the same command again to go on\n" in error
    assert "Traceback" not in error
    wait_for(lambda: not any(alive(process) for process in processes(log)))


def test_a_question_that_is_left_over_does_not_end_the_process() -> None:
    """Ray ended a process silently, with exit code 1, a minute after the cluster that it had started."""
    script = """
import threading, time
from lactok.evaluation import ray_engine
from lactok.evaluation.cluster import Cluster
ray_engine.connect(Cluster(), {"cpu": 1})
import ray
from ray._raylet import GcsClient
asks = GcsClient(address=ray.get_runtime_context().gcs_address)
ray_engine.end()
threading.Thread(target=asks.internal_kv_get, args=(b"key", b"namespace"), daemon=True).start()
time.sleep(75)
print("alive")
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr


def test_the_users_own_connection_stays(
    cluster: str, seven: Path, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_started", [])
    result = lactok.evaluate(
        COUNTING, dataset=str(seven), resolution=64, metrics="psnr", threads=1, engine="ray", workers=1, out=tmp_path
    )
    assert result["psnr"].n == IMAGES
    assert ray.is_initialized()


def test_a_task_that_fits_nowhere_is_one_line(cluster: str, seven: Path, tmp_path: Path, log: Path) -> None:
    with pytest.raises(ClusterError, match=r"no machine of the cluster has what a task takes \(CPU 64") as error:
        measured(seven, tmp_path / "out", Cluster(resources=(("cpu", 64.0),)))
    assert "\n" not in str(error.value)


def test_other_versions_are_refused() -> None:
    crew = object.__new__(ray_engine._Crew)
    crew.same = {"lactok": "1", "torch": "2.9"}
    with pytest.raises(ClusterError, match=r"node7 has torch 2\.8 and this machine 2\.9"):
        crew._welcome(ray_engine._Worker(None), Facts("node7", True, {"lactok": "1", "torch": "2.8"}))


@pytest.mark.parametrize("shared", [True, False], ids=["out is seen", "out is not seen"])
def test_a_generators_pictures(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    from benchmarks.generation.work import generate

    monkeypatch.setattr(datasets, "SHARD", 2)
    made = {}
    for name, used in (("one", None), ("ray", Cluster(workers=1, shared=shared))):
        folder = tmp_path / name / "pictures"
        run = Run(protocol.get("square-256", 64, "psnr"), threads=1)
        generate(
            COUNTING.replace("Counting", "Clouds"),
            [{"prompt": "a red ball"}, {"prompt": "two cats"}],
            folder,
            run,
            Execution(tmp_path / name, cluster=used),
            samples=2,
        )
        names = ("result.json", "records.parquet")
        made[name] = {
            p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.suffix == ".png" or p.name in names
        }
    assert len(made["one"]) == 6
    assert made["one"] == made["ray"]
    assert json.loads(made["ray"][Path("result.json")])["dataset"]["n"] == 4
