"""Numbers that are arguments, in plain digits and within a range; outputs that are checked before the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st

from lactok import errors, registry
from lactok.errors import DiskError, UserError, WrongValue
from lactok.evaluation.config import Settings, part_of, pictures_of, split_names
from lactok.evaluation.options import OPTIONS
from lactok.specs import Option, TokenizerSpec

# numbers to `int` and `float`, and nothing that a user means by a number
HOSTILE = ("²", "１", "1_0", " 1", "+1", "1e5", "٣", "--1", "0x10", "", "1\n", "9" * 5000, "nan", "-inf", "1e999")


@pytest.mark.parametrize("text", HOSTILE)
def test_integers_are_plain_digits(text: str) -> None:
    with pytest.raises(ValueError, match="plain digits"):
        errors.integer(text)


@pytest.mark.parametrize("text", [t for t in HOSTILE if t != "1e5"])
def test_decimals_are_plain_digits_and_finite(text: str) -> None:
    with pytest.raises(ValueError, match=r"plain digits|too large"):
        errors.decimal(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "`n` 0: between 2 and 9"),
        (10, "`n` 10: between 2 and 9"),
        pytest.param(10**5000, "`n` of more than 20 digits: between 2 and 9", id="huge"),
        (True, "`n` True: a whole number, between 2 and 9"),
        (2.0, "`n` 2.0: a whole number"),
        ("2", "`n` '2': a whole number"),
        (None, "`n` None: a whole number"),
        ("9" * 5000, "`n` '999"),
    ],
)
def test_whole_numbers_have_a_range(value: object, message: str) -> None:
    with pytest.raises(WrongValue) as stop:
        errors.whole("n", value, 2, 9)
    assert str(stop.value).startswith(message)
    assert len(str(stop.value)) < 100


def test_numpys_integers_are_whole_numbers() -> None:
    found = errors.whole("n", np.int32(3), 2, 9)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "²/3"}, "`part` ²/3: write I/N"),
        ({"part": "１/3"}, "`part` １/3: write I/N"),
        ({"part": "0/3"}, "write I/N"),
        ({"part": f"1/{10**9}"}, "write I/N"),
        ({"part": "9" * 5000 + "/2"}, "write I/N"),
        ({"pictures": "６"}, "write a number, 0 or more, or all"),
        ({"pictures": "1" * 5000}, "write a number"),
        ({"pictures": -1}, "`pictures` -1: write a number, 0 or more, or all"),
        ({"threads": 10**12}, "`threads` 1000000000000: between 0 and 1024"),
        ({"workers": 10**9}, "`workers` 1000000000: between 1 and 1024"),
        ({"batch_size": 10**9}, "`batch_size` 1000000000: between 1 and 65536"),
        ({"seed": 2**63}, "`seed` 9223372036854775808: between"),
        ({"seed": -(2**63) - 1}, "`seed` -9223372036854775809: between"),
        ({"limit": 10**19}, "less than 10^18"),
    ],
)
def test_settings_have_ranges(settings: dict[str, object], message: str) -> None:
    with pytest.raises(WrongValue) as stop:
        Settings(**settings).check()  # type: ignore[arg-type]
    assert message in str(stop.value)
    assert len(str(stop.value)) < 120


def test_every_shared_number_is_read_in_plain_digits() -> None:
    numbers = {"resolution", "limit", "batch_size", "workers", "threads", "seed"}
    assert {name for name, about in OPTIONS.items() if about.get("type") is errors.integer} == numbers
    assert all(about.get("type") in (None, errors.integer) for about in OPTIONS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits=300,bits=400", "option bits of x is given twice"),
        ("bits=²", "bits=²: not an integer"),
        ("bits=1_000", "not an integer"),
        ("bits=-3", "bits=-3: between 64 and 1000"),
        ("scale=nan", "scale=nan: not a number"),
        ("scale=inf", "not a number"),
        ("scale=-0.5", "scale=-0.5: 0 or more"),
        ("bits", "write bits=VALUE"),
    ],
)
def test_options_in_names(text: str, message: str) -> None:
    with pytest.raises(WrongValue) as stop:
        OPTIONED.with_options(text)
    assert message in str(stop.value)


OPTIONED = TokenizerSpec(
    "x",
    "x",
    1,
    2,
    8,
    8,
    "MIT",
    options={
        "bits": Option(640, "", 64, 1000),
        "scale": Option(1.0, "", low=0.0),
        "vae": Option("whole", "", choices=("whole", "tiled")),
    },
)

digits = st.text("0123456789²１٣_+-.eE/ ", max_size=25)
numbers = st.one_of(st.integers().map(str), st.floats().map(str), st.sampled_from(HOSTILE), digits)


@pytest.mark.fuzz
@tries(100, 30_000)
@given(numbers, numbers)
@example("²", "3")
@example("1", "9" * 5000)
def test_fuzz_numbers_and_parts(first: str, second: str) -> None:
    readers: tuple[tuple[Callable[[str], object], str], ...] = (
        (errors.integer, first),
        (errors.decimal, first),
        (pictures_of, first),
        (part_of, f"{first}/{second}"),
        (part_of, first),
    )
    refusals: list[str] = []
    for reader, text in readers:
        try:
            value = reader(text)
        except ValueError as error:
            refusals.append(str(error))
            continue
        assert text.isascii()
        if reader is part_of:
            assert isinstance(value, tuple)
            assert 0 <= value[0] < value[1] <= 10**6
        elif reader is not errors.decimal:
            assert value == int(text)
    assert all(len(message) < 120 for message in refusals)


@pytest.mark.fuzz
@tries(100, 25_000)
@given(st.one_of(st.text(max_size=40), st.lists(st.tuples(st.sampled_from(["bits", "scale", "vae", ""]), numbers))))
@example([("bits", "3000"), ("bits", "4000")])
def test_fuzz_options_of_a_name(given_text: str | list[tuple[str, str]]) -> None:
    text = given_text if isinstance(given_text, str) else ",".join(f"{name}={value}" for name, value in given_text)
    try:
        spec = OPTIONED.with_options(text)
    except UserError:
        return
    assert 64 <= spec.values["bits"] <= 1000
    assert 0 <= spec.values["scale"] < float("inf")
    assert OPTIONED.with_options(spec.name.partition("@")[2]).name == spec.name


asked = st.lists(
    st.sampled_from(["jpeg", "flextok-tiny", "@", "=", ",", " ", "tokens", "bits", "64", "²", ".py:", "/", "\0"])
)


@pytest.mark.fuzz
@tries(50, 10_000)
@given(st.one_of(st.text(max_size=30), asked.map("".join)))
@example("jpeg@bits=3000,bits=4000")
@example("\0.py:x")
def test_fuzz_names_of_tokenizers(text: str) -> None:
    try:
        specs = [registry.tokenizer_spec(name) for name in split_names(text)]
    except UserError as error:
        refusal = str(error)
    else:
        refusal = "one or more, each under the name by which it is found again"
        assert [registry.tokenizer_spec(spec.name) for spec in specs] == specs
    assert refusal


def test_outputs_are_checked_before_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    errors.check_output_file("svg", tmp_path / "new" / "deep" / "a.svg")
    errors.check_output_file("svg", tmp_path / "file")
    errors.check_output_file("svg", None)
    errors.check_output_folder("out", tmp_path / "new" / "deep")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # nothing was made
    for path, kind, message in (
        (tmp_path, WrongValue, "is a folder; name a file"),
        (tmp_path / "file" / "a.svg", DiskError, "is a file, not a folder"),
        (tmp_path / ("a" * 300), WrongValue, "File name too long"),
        ("a\0b", WrongValue, "null character"),
    ):
        with pytest.raises(kind, match=message):
            errors.check_output_file("svg", path)
    with pytest.raises(DiskError, match="choose another `out`"):
        errors.check_output_folder("out", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_found_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="cannot write to"):
        errors.check_output_file("svg", tmp_path / "new" / "a.svg")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc, which takes no files")
def test_a_folder_that_says_it_can_be_written_to_and_takes_no_file() -> None:
    with pytest.raises(errors.DiskError, match=r"`svg` /proc/x\.svg: cannot write to /proc"):
        errors.check_output_file("svg", "/proc/x.svg")


@pytest.mark.parametrize(
    ("name", "nearest"), [("PSNR", "psnr"), ("LPIPS", "lpips_vgg"), ("TITOK-S128", "TiTok-S128"), ("psnrr", "psnr")]
)
def test_suggestions_are_found_in_capitals_too(name: str, nearest: str) -> None:
    known = ["psnr", "lpips_vgg", "rfid", "TiTok-S128"]
    assert f"did you mean {nearest!r}?" in str(errors.unknown("metric", name, known))
