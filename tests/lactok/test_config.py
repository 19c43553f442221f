"""Recipes and shapes from the outside: every number has a range, and a mistake is one line."""

from __future__ import annotations

import contextlib
import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st

from lactok import config
from lactok.config import Config
from lactok.errors import UserError
from lactok.training.__main__ import main
from lactok.training.recipe import Recipe
from lactok.training.run import TRAINERS, recipe_kind
from lactok.training.tiny import CONFIGS, names, stages

BASE: dict[str, Any] = {"name": "x", "data": "d", "steps": 4, "batch": 2, "crop": 32, "scale": [32, 48]}
VAE = {"weights": "vae.safetensors"}
GIVEN: dict[str, dict[str, Any]] = {
    "vq": {"model": {}, "crop": 128, "scale": [128, 160]},
    "vae": {"model": {"channels": [8, 16]}},
    "ldm": {"unet": {"channels": [16, 32], "transformers": [0, 1]}, "vae": VAE},
    "accelerate": {"method": "tlcm", "unet_weights": "u", "vae": VAE},
    "proxy": {"model": {"channels": 32}},
    "titok": {"stage": 1, "model": {}, "proxy": "p", "crop": 256, "scale": [256, 288]},
    "flextok": {"model": {"encoder": [16, 1], "decoder": [16, 1]}, "vae": VAE},
    "seedtok": {"stage": 1, "model": {}, "crop": 224, "scale": [224, 256]},
    "plain": {"model": {"channels": 32, "channel_mult": [1, 1]}, "encoder_weights": "e"},
    "generator": {"model": {}},
    "text": {"model": {}},
    "lactok": {"stage": 1, "encoder_weights": "e", "unet_weights": "u", "vae": VAE},
}


def values(trainer: str, **changes: Any) -> dict[str, Any]:
    return {**BASE, **GIVEN[trainer], **changes}


def build(trainer: str, **changes: Any) -> Recipe:
    return config.build(recipe_kind(trainer), values(trainer, **changes), "recipe.toml")


def unbounded(kind: Any, where: str, is_bounded: bool = False) -> list[str]:
    """The places in a type that hold a number of any size or a list that may be empty without a word."""
    if typing.get_origin(kind) is typing.Annotated:
        inner, *more = typing.get_args(kind)
        return unbounded(inner, where, is_bounded or bool(more))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        assert issubclass(typing.cast(type, kind), Config)
        return [place for f in dataclasses.fields(kind) for place in unbounded(hints[f.name], f"{where}.{f.name}")]
    if typing.get_origin(kind) in (tuple, typing.Union, types.UnionType):
        return [place for part in typing.get_args(kind) if part is not ... for place in unbounded(part, where)]
    return [where] if kind in (int, float) and not is_bounded else []


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_number_of_a_recipe_has_a_range(trainer: str) -> None:
    assert not unbounded(recipe_kind(trainer), trainer)
    assert build(trainer)


def test_the_check_of_ranges_sees_what_has_none() -> None:
    @dataclasses.dataclass
    class Inner(Config):
        pair: tuple[int, config.Side]
        part: float | None = None

    @dataclasses.dataclass
    class Outer(Config):
        inner: Inner
        side: config.Side

    Outer.__annotations__["inner"] = Inner
    assert unbounded(Inner, "x") == ["x.pair", "x.part"]


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_mean_what_they_say(path: Path) -> None:
    """Every value of a shipped file is the recipe's, none is changed or refused."""
    if path.parent.name == "tiny":
        for stage in stages(path.stem):
            config.build(recipe_kind(stage.trainer), stage.values, stage.where)
        return
    table = tomllib.loads(path.read_text())
    fitting = []
    for trainer in TRAINERS:
        try:
            fitting.append(config.build(recipe_kind(trainer), table, path.name))
        except UserError:
            continue
    assert fitting
    plain = {k: v for k, v in table.items() if isinstance(v, int | float | str)}
    assert any(all(getattr(recipe, k) == v for k, v in plain.items()) for recipe in fitting)
    assert names()


NONSENSE: list[tuple[str, dict[str, Any], str]] = [
    ("vq", {"held_out": -1}, "held_out = -1: should be greater than or equal to 1"),
    ("vq", {"held_out": 0}, "held_out = 0: should be greater"),
    ("vq", {"held_out": 10**12}, "held_out = 1000000000000: should be less"),
    ("vae", {"steps": 0}, "steps = 0: should be greater"),
    ("vae", {"batch": 0}, "batch = 0: should be greater"),
    ("vae", {"batch": 10**9}, "batch = 1000000000: should be less"),
    ("vae", {"crop": 0}, "crop = 0: should be greater"),
    ("vae", {"crop": 10**6}, "crop = 1000000: should be less"),
    ("vae", {"crop": 31}, "crop and eval_size must be multiples of 2"),
    ("vae", {"scale": [16, 48]}, "scale = [16, 48]: two numbers, the smaller one first, from crop = 32 on"),
    ("vae", {"scale": [64, 48]}, "scale = [64, 48]"),
    ("vae", {"scale": [-64, 48]}, "scale.0 = -64"),
    ("vae", {"peak_lr": 0.0}, "peak_lr = 0.0: should be greater than 0"),
    ("vae", {"peak_lr": -1e-4}, "peak_lr = -0.0001"),
    ("vae", {"peak_lr": float("nan")}, "peak_lr = nan: should be a finite number"),
    ("vae", {"peak_lr": 5.0}, "peak_lr = 5.0: should be less"),
    ("vae", {"betas": [0.9, 1.0]}, "betas.1 = 1.0: should be less than 1"),
    ("vae", {"betas": [-0.1, 0.9]}, "betas.0 = -0.1"),
    ("vae", {"average": 2.0}, "average = 2.0: should be less than or equal to 1"),
    ("vae", {"weight_decay": -1.0}, "weight_decay = -1.0"),
    ("vae", {"weight_decay": 1e4}, "weight_decay = 10000.0 times peak_lr = 0.0001 is 1 or more"),
    ("vae", {"clip": 0.0}, "clip = 0.0"),
    ("vae", {"log_every": 0}, "log_every = 0"),
    ("vae", {"eval_every": 0}, "eval_every = 0"),
    ("vae", {"save_every": -5}, "save_every = -5"),
    ("vae", {"suite_every": -1}, "suite_every = -1"),
    ("vae", {"warmup": -1}, "warmup = -1"),
    ("vae", {"seed": -1}, "seed = -1"),
    ("vae", {"variants": -1}, "variants = -1"),
    ("vae", {"accumulate": 0}, "accumulate = 0"),
    ("vae", {"l1": -1.0}, "l1 = -1.0"),
    ("vae", {"l1": 0.0, "lpips": 0.0}, "l1 and lpips are all 0, so that nothing would be learned"),
    ("vae", {"lpips_net": "squeeze"}, "unknown lpips_net"),
    ("vae", {"model": {"channels": []}}, "model.channels = []: Tuple should have at least 1 item"),
    ("vae", {"model": {"channels": [0, 8]}}, "model.channels.0 = 0"),
    ("vae", {"name": ""}, "name = ''"),
    ("vae", {"name": "../../etc"}, "name = '../../etc'"),
    ("vq", {"crop": 130, "scale": [130, 160]}, "crop must be a multiple of 16"),
    ("vq", {"eval_size": 100}, "eval_size = 100: a multiple of 16"),
    ("vq", {"model": {"channel_mult": []}}, "model.channel_mult = []"),
    ("vq", {"later": [{"start": 2, "crop": 128, "batch": 0, "scale": [128, 160]}]}, "later.0.batch = 0"),
    ("vq", {"later": [{"start": 2, "crop": 128, "batch": 1, "scale": [64, 160]}]}, "scale = [64, 160]"),
    ("vq", {"revive_every": 0}, "revive_every = 0"),
    ("vq", {"revive_until": 1.5}, "revive_until = 1.5"),
    ("vq", {"quantize_from": 10**9}, "quantize_from = 1000000000: less than the "),
    ("vq", {"model": {"groups": 3}}, "must be multiples of 3 (GroupNorm's groups)"),
    ("ldm", {"vae": VAE | {"scaling": 0.0}}, "vae.scaling = 0.0"),
    ("ldm", {"unet": {"channels": [], "transformers": []}}, "unet.channels = []"),
    ("accelerate", {"segments": []}, "segments = []"),
    ("accelerate", {"segments": [0, 1]}, "segments.0 = 0"),
    ("accelerate", {"rank": 0}, "rank = 0"),
    ("flextok", {"eval_lengths": []}, "eval_lengths = []"),
    ("flextok", {"unconditional": 1.1}, "unconditional = 1.1"),
    ("titok", {"window": -1}, "window = -1"),
    ("seedtok", {"temperature": 0.0}, "temperature = 0.0"),
    ("lactok", {"encoder_sizes": []}, "encoder_sizes = []"),
    ("lactok", {"embedding": []}, "embedding"),
    ("lactok", {"lpips_net": "x"}, "unknown lpips_net"),
]


@pytest.mark.parametrize(("trainer", "changes", "said"), NONSENSE)
def test_nonsense_is_refused_in_a_line(trainer: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        build(trainer, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_command_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "x"\ndata = "d"\nsteps = 4\nbatch = 2\ncrop = 32\nscale = [32, 48]\n[model]\nchannels = [8]\n'
    )
    with pytest.raises(SystemExit) as stop:
        main(["vae", "--config", str(path), "--set", "held_out=-1"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {path}: held_out = -1: should be greater than or equal to 1\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea", "is damaged"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"a = " + b"9" * 5000, "Exceeds the limit"),
        (b"name = 'x\n", "config "),
        (b"x" * 100_000, "Expected '='"),
        (b"a" * 50_000 + b" = 1", "unknown key in"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        config.read(tmp_path / "r.toml", recipe_kind("vae"))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1500  # the longest line lists the keys that there are
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "."])
def test_names_that_are_no_file(name: str) -> None:
    with pytest.raises(UserError, match=r"does not exist|is a folder"):
        config.read(name, recipe_kind("vae"))


def test_a_mark_at_the_beginning_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xef\xbb\xbfname = 'x'")
    with pytest.raises(UserError, match="missing data, steps"):
        config.read(tmp_path / "r.toml", recipe_kind("vae"))


def test_a_key_that_is_a_value_and_a_table() -> None:
    with pytest.raises(UserError, match=r"`set` vae\.scaling=1: vae is set to a value and to a table"):
        config.changes(["vae=2", "vae.scaling=1"])


@contextlib.contextmanager
def suppressed() -> Iterator[list[str]]:
    """A block that may end with a UserError, whose message is then in the list."""
    said: list[str] = []
    try:
        yield said
    except UserError as error:
        said.append(str(error))


FIELDS = sorted({f.name for trainer in TRAINERS for f in dataclasses.fields(recipe_kind(trainer))})
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([-1, 0, 1, 10**30, "\ud800", "a" * 1000])
)
TREES = st.recursive(
    LEAVES,
    lambda t: st.lists(t, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), t, max_size=3),
    max_leaves=8,
)


@pytest.mark.fuzz
@tries(150, 5000)
@given(st.sampled_from(sorted(TRAINERS)), st.dictionaries(st.sampled_from(FIELDS), TREES, min_size=1, max_size=3))
@example("vae", {"name": "\ud800"})
@example("vae", {"crop": 10**5000})
def test_any_values_are_a_recipe_or_a_line(trainer: str, changes: dict[str, Any]) -> None:
    with suppressed() as said:
        recipe = build(trainer, **changes)
    if said:
        assert "\n" not in said[0]
        assert len(said[0]) < 1500
    else:
        assert 1 <= recipe.held_out <= 10**9
        assert recipe.crop <= recipe.scale[0] <= recipe.scale[1]
        assert 0 < recipe.peak_lr <= 1
        assert recipe.learning_rate(0) >= 0
        assert len(recipe.digest) == 64


@pytest.mark.fuzz
@tries(100, 5000)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.lists(st.text(max_size=20), max_size=3))
@example(b"a = 1979-05-27", ["a=1", "a.b=2"])
@example(b"[a]\nb = 1\n[a.b]", ["=", "a=[" * 200])
@example(b"a = 0x" + b"f" * 20_000, [])
def test_any_file_is_a_line(tmp_path_factory: pytest.TempPathFactory, content: bytes, sets: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    for trainer in ("vae", "lactok"):
        with pytest.raises(UserError) as caught:  # a recipe has seven keys that so few bytes do not hold
            config.read(path, recipe_kind(trainer), config.changes(sets))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 2000
