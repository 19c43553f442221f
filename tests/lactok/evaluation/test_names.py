"""Matching names: never one name twice, never a guess."""

from __future__ import annotations

import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st

from lactok.errors import WrongValue
from lactok.evaluation.names import matched, normalised, stem

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (["x.png", "x.jpg"], ["x.png"], {"x.png": "x.png"}),
        (["x.jpg", "x.png"], ["x.png", "x.webp"], {"x.jpg": "x.webp", "x.png": "x.png"}),
        (["x.png"], ["x.png", "x.webp"], {"x.png": "x.png"}),
        (["a/x.png", "b/x.png"], ["b/x.jpg", "a/x.jpg"], {"a/x.png": "a/x.jpg", "b/x.png": "b/x.jpg"}),
        (["x.png"], ["a/x.png", "X.png"], {}),
        ([f"{COMPOSED}.png"], [f"{DECOMPOSED}.png"], {f"{COMPOSED}.png": f"{DECOMPOSED}.png"}),
        ([f"{DECOMPOSED}.jpg"], [f"{COMPOSED}.png"], {f"{DECOMPOSED}.jpg": f"{COMPOSED}.png"}),
        (["x.0.png"], ["x.1.png"], {}),
    ],
)
def test_matching(first: list[str], second: list[str], expected: dict[str, str]) -> None:
    assert matched(first, second, "copies") == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a.jpg", "a.png"], ["a.webp"]),
        (["a.png"], ["a.jpg", "a.webp"]),
        (["a.png", "a.bmp"], ["a.jpg", "a.webp"]),
        ([f"{COMPOSED}.png", f"{DECOMPOSED}.png"], [f"{COMPOSED}.jpg"]),
    ],
)
def test_an_ambiguous_name_is_an_error_that_names_both_sides(first: list[str], second: list[str]) -> None:
    with pytest.raises(WrongValue, match="could belong together in more than one way") as stop:
        matched(first, second, "copies")
    assert all(name in str(stop.value) for name in (*first, *second))


parts = st.text(st.sampled_from("ab.é/e\u0301 \u202e"), max_size=6)
names = st.lists(st.one_of(parts, st.builds("{}.{}".format, parts, st.sampled_from(["png", "jpg"]))), unique=True)


@pytest.mark.fuzz
@tries(200, 15_000)
@given(names, names)
@example(["a.jpg", "a.png"], ["a.webp"])
@example(["."], ["..", "", "/"])
def test_fuzz_matching(first: list[str], second: list[str]) -> None:
    try:
        pairs = matched(first, second, "copies")
    except WrongValue:
        return
    assert len(set(pairs.values())) == len(pairs)
    for name, other in pairs.items():
        assert name in first
        assert other in second
        assert name == other or name not in second  # an exact counterpart comes first
        assert stem(name) == stem(other) or normalised(name) == normalised(other)
    without, unused = set(first) - pairs.keys(), set(second) - set(pairs.values())
    assert not {stem(name) for name in without} & {stem(name) for name in unused}  # nobody is forgotten
