"""Worker processes end with their run, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference import ROOT

pytestmark = pytest.mark.slow
HANGS = 120  # seconds; the jobs would take an hour

SCRIPT = """
import os, sys, time
from lactok.command import command
from lactok.evaluation.executors import LocalExecutor

def job(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(3600)

def start():
    pass

@command
def main(argv=None):
    LocalExecutor(2).run(job, [sys.argv[1]] * 5, start, (), "cpu")
    return 0

if __name__ == "__main__":
    main()
"""


def heed_ctrl_c() -> None:
    """Undo what a shell does to commands in the background, which ignore Ctrl-C and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A command with two workers at work, each in an hour's job, and the workers' process ids."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "pids").mkdir()
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "pids")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    while len(list((tmp_path / "pids").iterdir())) < 2:
        assert started.poll() is None
    yield started, [int(path.name) for path in (tmp_path / "pids").iterdir()]
    started.kill()  # where the test failed; the workers end with it
    started.wait()


def wait_for_end(pids: list[int]) -> None:
    """Wait until none of the processes is there any more; a test that hangs has failed."""
    waiting = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys, time\nwhile any(os.path.exists(f'/proc/{p}') and ' Z ' not in "
            "open(f'/proc/{p}/stat').read() for p in sys.argv[1:]): time.sleep(0.05)",
            *map(str, pids),
        ],
        timeout=HANGS,
    )
    assert waiting.returncode in (0, 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not list processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_run_is_killed(
    run: tuple[subprocess.Popen[str], list[int]], how: signal.Signals
) -> None:
    started, pids = run
    started.send_signal(how)
    assert started.wait(HANGS) == -how
    wait_for_end(pids)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not list processes in /proc")
@pytest.mark.parametrize("group", [False, True], ids=["the run", "the terminal's group"])
def test_ctrl_c_ends_jobs_that_are_running(run: tuple[subprocess.Popen[str], list[int]], group: bool) -> None:
    started, pids = run
    if group:
        os.killpg(started.pid, signal.SIGINT)
    else:
        started.send_signal(signal.SIGINT)
    assert started.wait(HANGS) == 130
    wait_for_end(pids)
    assert started.stderr is not None
    assert started.stderr.read() == "interrupted; run the same command again to go on\n"
