"""The front door: what `import lactok` offers says what it does, by an example where that needs no download."""

from __future__ import annotations

import doctest
import inspect

import pytest

import lactok

PUBLIC = [getattr(lactok, name) for name in lactok.__all__]
FUNCTIONS = [thing for thing in PUBLIC if inspect.isfunction(thing)]
CLASSES = [thing for thing in PUBLIC if inspect.isclass(thing) and not issubclass(thing, Exception)]
DOWNLOADS = {"load_generator"}  # every generator with weights in it is published


def named(thing: object) -> str:
    return getattr(thing, "__name__", str(thing))


@pytest.mark.parametrize("thing", PUBLIC, ids=named)
def test_it_says_what_it_is(thing: object) -> None:
    assert (inspect.getdoc(thing) or "").partition("\n")[0].rstrip().endswith((".", ";", ",", ":"))


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_a_function_has_an_example_that_runs(function: object) -> None:
    """Pytest runs them, see `addopts`; here it is that there are some."""
    if named(function) not in DOWNLOADS:
        assert doctest.DocTestFinder(recurse=False).find(function, named(function))[0].examples


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_a_function_says_what_comes_in_and_what_can_go_wrong(function: object) -> None:
    text = inspect.getdoc(function) or ""
    if inspect.signature(function).parameters and "As `" not in text:  # type: ignore[arg-type]
        assert "Args:" in text


@pytest.mark.parametrize("kind", CLASSES, ids=named)
def test_methods_of_a_class_say_what_they_do(kind: type) -> None:
    own = {k: v for k, v in vars(kind).items() if inspect.isfunction(v) and not k.startswith("_")}
    assert [name for name, method in own.items() if not inspect.getdoc(method)] == []
