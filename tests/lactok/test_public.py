"""The front door: what `import lactok` offers says what it does, by an example where that needs no download."""

from __future__ import annotations

import doctest
import inspect

import pytest
import torch

import lactok
from lactok import adapters

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


def test_completion_offers_the_public_names() -> None:
    assert {"evaluate", "compare", "load_results", "Tokenizer"} <= set(dir(lactok))
    assert "importlib" not in dir(lactok)


def test_files_without_an_installation_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the clone's folder another Python imports lactok, and every name was unknown."""
    monkeypatch.setattr("lactok.adapters.points", lambda group: ())
    monkeypatch.setattr("lactok.registry.TOKENIZERS.packages", adapters._packages.__wrapped__)
    for call in (lactok.list_tokenizers, lambda: lactok.load("resize-8")):
        with pytest.raises(
            lactok.UserError, match=r"lactok is not installed for .*; use the Python that has it, or run"
        ):
            call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told() -> None:
    with pytest.raises(lactok.WrongValue, match="this machine has no such device; leave it out to use the CPU"):
        lactok.load("resize-8", device="cuda")
