"""Weights from a Hugging Face hub, end to end: a local stand-in, reached through HF_ENDPOINT as users reach theirs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import official_file, photograph
from hub import COMMIT, TEMPLATE, Asked, Cut, LocalHub, User, closed_port, fetching
from pytest_httpserver import HTTPServer
from safetensors.torch import load_file

from benchmarks.recon import __main__ as recon
from lactok import registry, weights
from lactok.command import interpreter, show_log
from lactok.errors import UserError, WeightsNotFound
from lactok.nn.lpips_checkpoint import LPIPS_HEADS
from lactok.specs import Asset, Hub, Url
from lactok.weights import cache, hub, resolution
from lactok.weights.__main__ import main

pytestmark = pytest.mark.usefixtures("own_cache")

NAME = "someone/model/vq_tiny.pt"
MB = 1 << 20
CHUNK = 10 * MB  # huggingface_hub writes what arrives in pieces of this size


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, torch.Tensor]]:
    """An official file of more than one piece, and what is to be loaded of it."""
    path = tmp_path_factory.mktemp("official") / "vq_tiny.pt"
    state = official_file(path, padding=CHUNK)
    assert path.stat().st_size > 2 * CHUNK
    return path.read_bytes(), state


def asset(sha256: str | None = None, *, name: str = "test-vq", size: int = 0, file: str = "vq_tiny.pt") -> Asset:
    return Asset(name, "MIT", (Hub("someone/model", file, sha256),), "baselines.llamagen:convert", size)


@pytest.fixture
def user(local: LocalHub, tmp_path: Path) -> User:
    return User(tmp_path, local.url)


def same(path: str | Path, state: dict[str, torch.Tensor]) -> bool:
    tensors = load_file(path)
    return tensors.keys() == state.keys() and all(torch.equal(tensors[k], state[k]) for k in state)


def wait_for(look, seconds: float = 60):
    """What `look` finds, as soon as it finds anything."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)
    return found


@pytest.mark.slow
class TestAtTheShell:
    def test_a_broken_download_goes_on_where_it_broke(
        self, here: LocalHub, user: User, checkpoint, capsys: pytest.CaptureFixture[str]
    ) -> None:
        local = here
        content, state = checkpoint
        wanted = asset(local.add(NAME, content, cdn=True))
        local.script = [Cut(CHUNK + MB), 503]
        out, err = user.fetch(wanted, code=2)
        total = f"{len(content) / 1e6:.1f} MB"
        assert err.splitlines()[-1].startswith("error: weights not found: test-vq")
        assert f"the hub answered 503 after 10.5 of {total}; run again to go on from there" in err
        assert out == ""
        assert not list(user.cache.glob("*.safetensors"))
        assert local.starts() == [None]
        local.script = []
        show_log()  # as every command does
        assert same(weights.resolve(wanted).path, state)
        assert local.starts() == [None, CHUNK]
        assert f"fetching hub:{NAME} ({total}, 10.5 MB are here)" in capsys.readouterr().err
        assert sorted(p.name for p in user.cache.iterdir()) == ["test-vq.json", "test-vq.lock", "test-vq.safetensors"]

    def test_a_killed_download_goes_on_too(self, here: LocalHub, user: User, checkpoint) -> None:
        local = here
        content, state = checkpoint
        local.add(NAME, content)
        local.script = [Cut(2 * CHUNK, hold=True)]
        process = user.start(*fetching(asset()))
        assert local.silent.wait(60)
        part = next(iter(wait_for(lambda: [p for p in user.cache.glob("partial/*/*/*") if p.stat().st_size >= CHUNK])))
        process.kill()
        process.communicate()
        arrived = part.stat().st_size
        assert same(weights.resolve(asset()).path, state)
        assert local.starts() == [None, arrived]
        assert not (user.cache / "partial").exists()

    def test_gated(self, local: LocalHub, user: User) -> None:
        local.add(NAME, b"any", token="hf_right")
        line = user.refused(asset())
        assert "gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN" in line

    def test_wrong_hash(self, local: LocalHub, user: User) -> None:
        digest = local.add(NAME, b"any")
        line = user.refused(asset("00000000"))
        assert f"tried hub:{NAME} (its sha256 is {digest}, expected 00000000; not used)" in line

    def test_nobody_answers(self, tmp_path: Path) -> None:
        user = User(tmp_path, f"http://127.0.0.1:{closed_port()}")
        assert f"the model hub {user.endpoint} cannot be reached" in user.refused(asset())

    def test_offline(self, here: LocalHub, user: User, checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import hf_hub_download

        content, state = checkpoint
        here.add(NAME, content)
        user.settings["HF_HUB_OFFLINE"] = "1"
        assert "(HF_HUB_OFFLINE is set)" in user.refused(asset())
        assert here.asked == []
        hf_hub_download("someone/model", "vq_tiny.pt")  # another program fills the hub's own cache
        asked = len(here.asked)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert same(weights.resolve(asset()).path, state)
        out, err = user.fetch(asset())  # without the hub's own cache: ours is enough from now on
        assert same(out.strip(), state)
        assert err == ""
        assert len(here.asked) == asked

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_no_space_for_the_download(self, local: LocalHub, user: User, checkpoint) -> None:
        content, _ = checkpoint
        digest = local.add(NAME, content)
        assert "no space left in" in user.refused(asset(size=1 << 60))
        assert local.asked == []
        name = hashlib.sha256(digest.encode()).hexdigest()[:16]
        folder = user.cache / "partial" / "test-vq" / hashlib.sha256(f"hub:{NAME}".encode()).hexdigest()[:16]
        folder.mkdir(parents=True)
        (folder / name).symlink_to("/dev/full")  # every write to it fails as on a full disk
        line = user.refused(asset())
        assert line == f"error: no space left in {user.cache}: free some and run again, or {resolution.REMEDY}"

    @pytest.mark.slow
    def test_no_space_for_the_conversion(self, local: LocalHub, user: User, checkpoint) -> None:
        content, _ = checkpoint
        local.add(NAME, content)
        user.cache.mkdir()
        mount = f"mount -t tmpfs -o size={len(content) + MB} none {user.cache}"
        trial = ["unshare", "-rm", "sh", "-c", mount]
        if not shutil.which("unshare") or subprocess.run(trial, capture_output=True).returncode != 0:
            pytest.skip("a small disk cannot be made here")
        code = f'{mount} && "$@"; code=$?; find {user.cache} -type f; exit $code'
        out, err = user.run("unshare", "-rm", "sh", "-c", code, "sh", *fetching(asset()), code=2)
        assert err.splitlines()[-1].startswith(f"error: no space left in {user.cache}: ")
        assert out.split() == [str(user.cache / "test-vq.lock")]
        assert local.starts() == [None]


PLUG = """
from baselines.llamagen import TINY, LlamaGenVQ
from lactok import TokenizerSpec, register
from lactok.specs import Asset, Hub

ASSET = Asset("test-vq", "MIT", (Hub("someone/model", "vq_tiny.pt"),), "baselines.llamagen:convert")
register(TokenizerSpec("plugged", "test", 256, 4096, 256, 256, "MIT", assets=(ASSET,)), config=TINY)(LlamaGenVQ)
"""


@pytest.fixture
def plugged(user: User, local: LocalHub, checkpoint) -> User:
    """Somebody who has installed a tokenizer whose weights, alone of all, the hub has."""
    local.add(NAME, checkpoint[0], cdn=True)
    site = user.folder / "site"
    (site / "plugged-1.0.dist-info").mkdir(parents=True)
    (site / "plugged-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (site / "plugged-1.0.dist-info" / "entry_points.txt").write_text("[lactok.tokenizers]\nplugged = plugged:ASSET\n")
    (site / "plugged.py").write_text(PLUG)
    user.settings["PYTHONPATH"] = str(site)
    return user


@pytest.mark.slow
class TestCommands:
    def test_two_fetch_at_once_and_download_once(self, plugged: User, local: LocalHub, checkpoint) -> None:
        both = [plugged.start(sys.executable, "-m", "lactok.weights", "fetch", "test-vq") for _ in range(2)]
        ended = [p.communicate(timeout=120) for p in both]
        assert [p.returncode for p in both] == [0, 0]
        assert [out for out, _ in ended] == [f"{plugged.cache / 'test-vq.safetensors'}\n"] * 2  # nothing but the path
        assert sorted(f"fetching hub:{NAME} (" in err for _, err in ended) == [False, True]
        assert local.starts() == [None]
        assert same(plugged.cache / "test-vq.safetensors", checkpoint[1])

    def test_recon_runs_what_the_hub_has(
        self, plugged: User, here: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (plugged.folder / "photographs").mkdir()
        photograph(1).save(plugged.folder / "photographs" / "1.png")
        arguments = (
            "--tokenizers",
            "all",
            "--metrics",
            "psnr",
            "--dataset",
            str(plugged.folder / "photographs"),
            "--out",
            str(plugged.folder / "runs"),
        )
        out, _ = plugged.run(sys.executable, "-m", "benchmarks.recon", *arguments)
        table = next((plugged.folder / "runs").glob("table*.md"))
        text = table.read_text()
        assert "| plugged " in text
        assert "not run: llamagen-vq16: weights not found: llamagen-vq16; tried hub:FoundationVision/LlamaGen" in text
        assert "not run: plugged" not in text
        assert out.count("not run: ") == 1  # so many are told in one line
        assert f" more; {table} says why; " in out
        assert out.splitlines()[-1].startswith(f"next: {interpreter()} -m reports --runs ")
        names = ["identity", "llamagen-vq16", "llamagen-vq8"]
        monkeypatch.setattr(registry.TOKENIZERS, "names", lambda: names)
        for strict, code in (((), 0), (("--strict",), 3)):
            with pytest.raises(SystemExit) as stop:
                recon.main([*arguments, *strict])
            assert stop.value.code == code
            assert "not run: llamagen-vq8: weights not found" in capsys.readouterr().out

    def test_fetch_all_says_once_that_nobody_answers(
        self, here: LocalHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        nobody = f"http://127.0.0.1:{closed_port()}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nobody + TEMPLATE)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nobody)
        assets = [asset(name="a"), LPIPS_HEADS["alex"], asset(name="b"), asset(name="c")]
        monkeypatch.setattr("lactok.weights.__main__.known_assets", lambda: {a.name: (a, "tests") for a in assets})
        with pytest.raises(SystemExit) as stop:
            main(["fetch", "all"])
        assert stop.value.code == 2
        out, err = capsys.readouterr()
        assert out.count("\n") == 1  # what can be had is fetched
        assert "lpips-alex-heads.safetensors" in out
        assert err.count(f"the model hub {nobody} cannot be reached") == 1
        assert err.count("not asked again") == 2
        assert err.endswith("error: 3 of 4 assets were not fetched: a, b, c\n")


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    torch.save({"a": torch.arange(3000.0)}, tmp_path / "small.pt")
    return (tmp_path / "small.pt").read_bytes()


def plain(*sources: Hub | Url) -> Asset:
    return Asset("small", "MIT", sources or (Hub("someone/model", "small.pt"),))


SMALL = "someone/model/small.pt"


class TestInProcess:
    @pytest.mark.slow
    @pytest.mark.parametrize("cdn", [False, True])
    def test_a_break_is_mended_within_a_call(self, here: LocalHub, small: bytes, cdn: bool) -> None:
        here.add(SMALL, small, cdn=cdn)
        here.script = [Cut(5500)]
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert here.starts() == [None, 5000]

    def test_what_was_asked(self, here: LocalHub, small: bytes) -> None:
        """The content is that of the commit that was looked at, whatever is pushed meanwhile."""
        here.add(SMALL, small)
        weights.resolve(plain())
        head, get = (f"/someone/model/resolve/{revision}/small.pt" for revision in ("main", COMMIT))
        of_the_file = [
            asked for asked in here.asked if not asked.path.startswith("/api/")
        ]  # the client's own questions
        assert of_the_file == [Asked("HEAD", head, None, None, 200), Asked("GET", get, None, None, 200)]

    def test_wrong_hash_and_the_next_source(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        other = here.add("other/model/small.pt", small)
        here.add(SMALL, small[:-1] + b"x")
        wrong, right = Hub("someone/model", "small.pt", other), Hub("other/model", "small.pt", other)
        with pytest.raises(WeightsNotFound, match=rf"small.pt \(its sha256 is \w+, expected {other}; not used\)"):
            weights.resolve(plain(wrong))
        assert [p.name for p in own_cache.iterdir()] == ["small.lock"]
        assert weights.resolve(plain(wrong, right)).source == "hub:other/model/small.pt"
        assert weights.load(plain(wrong, right))["a"].tolist() == list(range(3000))
        assert len(here.starts()) == 2  # the wrong one is not fetched again to be thrown away

    @pytest.mark.slow
    def test_a_wrong_beginning_is_thrown_away(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        digest = here.add(SMALL, small)
        here.script = [Cut(5500), 503]
        with pytest.raises(WeightsNotFound, match="go on from there"):
            weights.resolve(plain())
        part = next(own_cache.glob("partial/*/*/*"))
        assert part.stat().st_size == 5000
        here.script = []
        part.write_bytes(b"x" * 5000)
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert here.starts() == [None, 5000, None]
        assert weights.resolve(plain()).sha256 == cache.sha256(own_cache / "small.safetensors")
        assert digest in (own_cache / "small.json").read_text()

    def test_damaged_on_the_way_every_time(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        here.add(SMALL, small)
        here.files[SMALL] = replace(here.files[SMALL], content=small[:-1] + b"x")
        with pytest.raises(WeightsNotFound, match="it arrived damaged, twice"):
            weights.resolve(plain())
        assert here.starts() == [None, None]
        assert [p.name for p in own_cache.iterdir()] == ["small.lock"]

    @pytest.mark.slow
    def test_a_beginning_that_is_too_long_is_thrown_away(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        here.add(SMALL, small)
        here.script = [Cut(5500), 503]
        with pytest.raises(WeightsNotFound):
            weights.resolve(plain())
        next(own_cache.glob("partial/*/*/*")).write_bytes(small + b"x")
        here.script = []
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert here.starts() == [None, None]

    @pytest.mark.slow
    def test_a_new_version_is_not_joined_to_the_old_one(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        here.add(SMALL, b"x" * len(small))
        here.script = [Cut(5500), 503]
        with pytest.raises(WeightsNotFound):
            weights.resolve(plain())
        here.add(SMALL, small)
        here.script = []
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert here.starts() == [None, None]
        assert not (own_cache / "partial").exists()

    @pytest.mark.slow
    def test_what_waits_outlives_another_sources_failure(self, here: LocalHub, small: bytes, own_cache: Path) -> None:
        here.add(SMALL, small)
        here.script = [Cut(5500), 503]
        both = plain(Hub("someone/model", "small.pt"), Url(f"{here.url}/nothing"))
        with pytest.raises(WeightsNotFound, match=r"go on from there.*its address answered 401"):
            weights.resolve(both)
        here.script = []
        assert weights.load(both)["a"].tolist() == list(range(3000))
        assert here.starts() == [None, 5000]

    def test_a_damaged_conversion_is_fetched_again(
        self, here: LocalHub, small: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here.add(SMALL, small)
        path = weights.resolve(plain()).path
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert here.starts() == [None, None]
        assert "fetching it again" in capsys.readouterr().err

    def test_another_programs_damaged_copy_is_not_used(self, here: LocalHub, small: bytes) -> None:
        from huggingface_hub import hf_hub_download

        digest = here.add(SMALL, small)
        copy = Path(hf_hub_download("someone/model", "small.pt")).resolve()
        copy.write_bytes(small[:-1])
        assert weights.load(plain(Hub("someone/model", "small.pt", digest)))["a"].tolist() == list(range(3000))

    def test_a_token_after_a_refusal(self, here: LocalHub, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a notebook: accept the terms, set the token, run the cell again."""
        here.add(SMALL, small, token="hf_right", cdn=True)
        with pytest.raises(WeightsNotFound, match="gated"):
            weights.resolve(plain())
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(WeightsNotFound, match=r"the hub answered 401: is the token of HF_TOKEN .* valid"):
            weights.resolve(plain())
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        assert weights.load(plain())["a"].tolist() == list(range(3000))
        assert [a.token for a in here.asked if a.path.startswith("/cdn/")] == [None]  # the token stays with the hub

    def test_not_there(self, here: LocalHub) -> None:
        here.add(SMALL, b"any")
        with pytest.raises(WeightsNotFound, match=r"\(the repository has no such file\)"):
            weights.resolve(plain(Hub("someone/model", "other.pt")))
        with pytest.raises(WeightsNotFound, match=r"\(no such repository on the hub, or not without logging in\)"):
            weights.resolve(plain(Hub("nobody/model", "small.pt")))

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_busy_hub_is_asked_again_and_then_left_alone(
        self, here: LocalHub, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        waits: list[float] = []
        monkeypatch.setattr("lactok.weights.hub.time.sleep", waits.append)
        here.status = status
        with pytest.raises(WeightsNotFound, match=rf"\(the model hub answered {status}; try again later\)"):
            weights.resolve(plain())
        assert waits == list(hub.RETRY_AFTER)
        with pytest.raises(WeightsNotFound, match="not asked again"):
            weights.resolve(plain(Hub("someone/model", "other.pt")))
        assert [a.method for a in here.asked] == ["HEAD"] * (1 + len(waits))

    def test_a_busy_moment_passes(self, here: LocalHub, small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        here.add(SMALL, small)
        here.status = 429

        def wait(_: float) -> None:
            here.status = None

        monkeypatch.setattr("lactok.weights.hub.time.sleep", wait)
        assert weights.load(plain())["a"].tolist() == list(range(3000))

    def test_a_revision(self, here: LocalHub, small: bytes) -> None:
        here.add(SMALL, small)
        with pytest.raises(WeightsNotFound, match=r"small.pt@v2 \(the repository has no such revision\)"):
            weights.resolve(plain(Hub("someone/model", "small.pt", revision="v2")))
        assert weights.resolve(plain(Hub("someone/model", "small.pt", revision=COMMIT))).source.endswith(f"@{COMMIT}")

    def test_not_a_hub(self, here: LocalHub, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
        url = httpserver.url_for("")
        httpserver.expect_request("/someone/model/resolve/main/small.pt").respond_with_data("hello")
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + TEMPLATE)
        with pytest.raises(WeightsNotFound, match="is not a model hub"):
            weights.resolve(plain())

    def test_json(self, here: LocalHub) -> None:
        digest = here.add("someone/model/config.json", b'{"width": 3}')
        config = Asset("c", "MIT", (Hub("someone/model", "config.json", digest),))
        assert bytes(weights.load(config)["json"].tolist()) == b'{"width": 3}'
        here.add("someone/model/broken.json", b"{")
        with pytest.raises(UserError, match=r"hub:someone/model/broken.json is not JSON"):
            weights.resolve(Asset("b", "MIT", (Hub("someone/model", "broken.json"),)))
