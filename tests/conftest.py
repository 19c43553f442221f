"""Fixtures: reference sets where they are, small photographs, and toy tokenizers registered for the tests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import chromium  # noqa: F401 (fixture)
from fuzzing import load_default_profile
from golden_sets import MADE_ANEW
from hub import here, local, server  # noqa: F401 (fixtures)
from page_runs import usual_page  # noqa: F401 (fixture)
from pairs import pair_recipe  # noqa: F401 (fixture)
from PIL import Image
from recipes import recipes  # noqa: F401 (fixture)
from reference import shared  # noqa: F401 (tests take it from here)
from torch import Tensor

from lactok import registry
from lactok.plugins import Plugins
from lactok.registry import register
from lactok.specs import TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.weights import resolution

load_default_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="make the expected outputs of tests/golden anew where they changed, and say which",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in MADE_ANEW:
        terminalreporter.write_line(line)


@pytest.fixture
def regenerate_golden(request: pytest.FixtureRequest) -> bool:
    """Whether the regression sets are made anew."""
    return bool(request.config.getoption("--regenerate-golden"))


@register(TokenizerSpec("toy", "test", tokens=16, codebook_size=64, input_size=32, output_size=32, license="MIT"))
class Toy(Tokenizer):
    """Mean colour of 4x4 cells at two bits a channel: a true tokenizer that needs no weights."""

    calls = 0

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        type(self).calls += len(images)
        cells = torch.nn.functional.avg_pool2d(images, 8)
        level = (cells * 3.999).floor().long().flatten(2)  # (B, 3, 16)
        return level[:, 0] * 16 + level[:, 1] * 4 + level[:, 2]

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        level = torch.stack([ids // 16, ids // 4 % 4, ids % 4], 1).float()
        return torch.nn.functional.interpolate((level.unflatten(2, (4, 4)) + 0.5) / 4, scale_factor=8.0)


def photograph(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """A smooth random picture: a few colours at low resolution, enlarged."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is not marked slow is fast."""
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.fast)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 70 small PNG files: two shards."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(70):
        photograph(i).save(folder / f"{i:03}.png")
    return folder


@pytest.fixture
def toy_calls() -> type[Toy]:
    Toy.calls = 0
    return Toy


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of weights, no folders of the user's, nothing remembered."""
    monkeypatch.setenv("LACTOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LACTOK_WEIGHTS", raising=False)
    resolution._failed.clear()
    yield tmp_path / "cache"
    resolution._failed.clear()


def official_file(path: Path, part: str = "model", padding: int = 0) -> dict[str, Tensor]:
    """A seeded checkpoint in LlamaGen's layout, with `padding` bytes of optimizer state; returns the network's part."""
    torch.manual_seed(0)
    state = registry.TOKENIZERS.entry("llamagen-vq16-tiny").create().get_submodule("model").state_dict()
    decoy = {k: torch.zeros_like(v) for k, v in state.items()}
    optimizer = torch.randint(0, 256, (padding,), dtype=torch.uint8)
    torch.save({"model": decoy, part: state, "optimizer": optimizer, "args": argparse.Namespace(a=1)}, path)
    return state


class _Lent(dict[str, Any]):
    """A copy of what is registered; what a package's own module registers meanwhile is kept in the original too.

    Its module is imported once in a process, so that nothing would register it again.
    """

    def __init__(self, plugins: Plugins[Any]):
        super().__init__(plugins.registered)
        self.original, self.own = plugins.registered, plugins.own()

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name in self.own:
            self.original.setdefault(name, value)


def lend(monkeypatch: pytest.MonkeyPatch, plugins: Plugins[Any]) -> None:
    """Forget after the test what it registers; `plugins`: `registry.TOKENIZERS`, `registry.GENERATORS`, ..."""
    monkeypatch.setattr(plugins, "registered", _Lent(plugins))


@contextmanager
def plugged(monkeypatch: pytest.MonkeyPatch, folder: Path, plugins: Plugins[Any]) -> Iterator[dict[str, EntryPoint]]:
    """Entry points that only this test has; what they import from `folder` and register is forgotten.

    Args:
        plugins: of the kind that they are: `registry.TOKENIZERS`, `registry.GENERATORS`, `METRICS`, ...
    """
    points: dict[str, EntryPoint] = {}
    monkeypatch.setattr(plugins, "points", lambda: points)
    lend(monkeypatch, plugins)
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield points
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
