"""Adapters as plug-ins: the example in a fresh environment, broken ones beside others, and the page that tells how."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from conftest import plugged
from documents import code_of
from environments import ROOT, installed, python

from benchmarks.contract.check import check
from benchmarks.recon import __main__ as recon
from lactok import registry, weights

EXAMPLE = ROOT / "examples" / "lactok-dct"
PAGE = ROOT / "docs" / "adding-a-tokenizer.md"
GROUP = "lactok.tokenizers"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return installed(tmp_path, EXAMPLE)


COMMANDS = """
import runpy, sys
from lactok import registry
print(*registry.list_tokenizers())
# without the built-in networks, whose FLOPs take half a minute to count
own = {k: v for k, v in registry.TOKENIZERS.own().items() if v.module == "baselines.reference"}
registry.TOKENIZERS.own = lambda: own
for arguments in ("--tokenizers all --dry-run --metrics psnr", "--check dct-16"):
    sys.argv = ["recon", *arguments.split()]
    try:
        runpy.run_module("benchmarks.recon", run_name="__main__")
    except SystemExit as stop:
        print("exit code", stop.code)
"""


@pytest.mark.slow
def test_the_example_is_a_tokenizer_where_it_is_installed(fresh: Path, tmp_path: Path) -> None:
    """Both commands in one process, since importing torch is most of their time."""
    assert "dct-16" not in registry.list_tokenizers()
    done = python(fresh, "-c", COMMANDS, cwd=tmp_path)
    names, _, rest = done.stdout.partition("\n")
    assert "dct-16" in names.split(), done.stderr
    planned, _, checked = rest.partition("exit code 0\n")
    assert re.search(r"^dct-16 +ready +36 of 36", planned, re.MULTILINE), done.stderr
    assert re.search(r"^identity +ready +36 of 36", planned, re.MULTILINE)
    assert "as dct-16, from lactok-dct" in checked
    assert "3071.9 = 256 * log2(4095)" in checked
    assert checked.endswith("dct-16: 18 rules hold, none broken\nexit code 0\n")


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, EntryPoint]]:
    """Entry points that only this test has; what they import and register is forgotten."""
    registry.TOKENIZERS.entry("identity")  # its module registers it now
    with plugged(monkeypatch, tmp_path, registry.TOKENIZERS) as points:
        yield points


@pytest.fixture
def one_broken(plug: dict[str, EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`identity`, and before it a plug-in whose module fails."""
    (tmp_path / "broken_plug.py").write_text("import lactok\n\nraise OSError('no such\\nlibrary')\n")
    plug["broken"] = EntryPoint("broken", "broken_plug:X", GROUP)
    own, identity = registry.TOKENIZERS.own()["identity"], registry.TOKENIZERS.registered["identity"]
    monkeypatch.setattr(registry.TOKENIZERS, "own", lambda: {"identity": own})
    monkeypatch.setattr(registry.TOKENIZERS, "registered", {"identity": identity})
    monkeypatch.setattr(registry.TOKENIZERS, "names", lambda: ["broken", "identity"])
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        recon.main(arguments)
    return int(str(stop.value.code or 0))


def test_a_broken_plug_in_hides_no_other(one_broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    why = "plug-in 'broken' (broken_plug:X) cannot be imported: OSError: no such library"
    assert run("--help") == 0
    capsys.readouterr()
    assert run("--tokenizers", "all", "--dry-run", "--metrics", "psnr") == 0
    out = capsys.readouterr().out
    assert re.search(r"^identity +ready", out, re.MULTILINE)
    assert f"cannot run: {why}" in out
    options = ("--resolution", "32", "--metrics", "psnr", "--limit", "2", "--out", str(one_broken / "out"))
    assert run("--tokenizers", "all", *options) == 3
    out, err = capsys.readouterr()
    assert "| identity" in out
    assert f"failed: broken: {why}" in err
    assert "fid-inception" in weights.known_assets()
    assert f"left out: {why}" in capsys.readouterr().err


def test_check_names_the_line_where_a_plug_in_fails(one_broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--check", "broken") == 3
    assert f"no such library ({one_broken / 'broken_plug.py'}, line 3)" in capsys.readouterr().out


def test_check_names_a_plug_in_that_exits_or_registers_nothing(plug: dict[str, EntryPoint], tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit('needs a GPU')\n")
    plug["exits"] = EntryPoint("exits", "exits:X", GROUP)
    plug["silent"] = EntryPoint("silent", "json:loads", GROUP)
    assert "SystemExit: needs a GPU" in check("exits")[0].text
    assert "decorate its class with @lactok.register" in check("silent")[0].text


def test_a_name_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("identity", "somewhere:X", GROUP)
    monkeypatch.setattr("benchmarks.contract.rules.entry_points", lambda **_: [point])
    (clash,) = [f for f in check("identity") if f.state == "FAIL"]
    assert clash.text.startswith("package baselines and somewhere:X have the name 'identity'")


def test_a_tokenizer_outside_torch_is_planned(
    plug: dict[str, EntryPoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside.py").write_text(
        "import lactok\n"
        "@lactok.register(lactok.TokenizerSpec('outside', 'test', 1, 2, 8, 8, 'MIT'))\n"
        "class Outside(lactok.Tokenizer):\n"
        "    def _encode(self, images, seeds):\n        return images.numpy()\n"
    )
    plug["outside"] = EntryPoint("outside", "outside:Outside", GROUP)
    assert run("--tokenizers", "outside identity", "--dry-run", "--metrics", "psnr") == 0
    out = capsys.readouterr().out
    assert re.search(r"^outside +ready", out, re.MULTILINE)
    assert "cost unknown: outside: " in out


def test_the_page_on_adding_a_tokenizer_runs(
    plug: dict[str, EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """Files are written, scripts are run in order, the entry points are what the page says, and all is checked."""
    monkeypatch.chdir(tmp_path)
    tables = [tomllib.loads(block) for block in code_of(PAGE, "toml")]
    for name, value in ((n, v) for t in tables for n, v in t["project"]["entry-points"][GROUP].items()):
        plug[name] = EntryPoint(name, value, GROUP)
    code = code_of(PAGE, "python")
    files = {match[1]: block for block in code if (match := re.match(r"# (\w+\.py)\n", block))}
    scripts = [block for block in code if block not in files.values()]
    assert len(plug) == 4
    assert files.keys() == {"mine.py", *(f"{point.value.partition(':')[0]}.py" for point in plug.values())}
    assert len(scripts) == 3
    for name, block in files.items():
        Path(name).write_text(block)
    for script in scripts:
        exec(compile(script, "page", "exec"), {"__name__": "__main__"})
    monkeypatch.setenv("LACTOK_WEIGHTS", "weights")
    checked = {name: check(name) for name in (*plug, "./mine.py:Mine")}
    assert [(n, f) for n, found in checked.items() for f in found if f.state != "ok"] == []
    assert "prefix" in {f.rule for f in checked["waves"]}
    assert "assets: patches-16" in checked["patches-16"][1].text
