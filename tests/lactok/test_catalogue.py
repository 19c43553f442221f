"""The catalogues of specs: they say what the modules declare, and nothing of a module that has changed since."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from golden_sets import MADE_ANEW
from reference import ROOT

from lactok import catalogue, registry
from lactok.adapters import Adapters
from lactok.metrics import rewards
from lactok.specs import GeneratorSpec, TokenizerSpec

KINDS = {"tokenizer": TokenizerSpec, "generator": GeneratorSpec}


def specs_of(adapters: Adapters[Any, Any]) -> dict[str, Any]:
    return {name: adapters.entry(name).spec for name in adapters.own()}


@pytest.mark.slow
def test_catalogues_hold_what_the_modules_declare(regenerate_golden: bool) -> None:
    of_rewards = {name: rewards.find(name).spec for name in rewards.REWARDS.own()}
    for package, specs in (
        ("baselines", {a.decorator: specs_of(a) for a in (registry.TOKENIZERS, registry.GENERATORS)}),
        ("lactok.metrics.rewards", {rewards.REWARDS.decorator: of_rewards}),
    ):
        text, file = catalogue.catalogue_of(package, specs), catalogue.file_of(package)
        if regenerate_golden and (not file.is_file() or file.read_text(encoding="utf-8") != text):
            file.write_text(text, encoding="utf-8")
            MADE_ANEW.append(f"{file.relative_to(ROOT)}: made anew")
        told = f"pytest {Path(__file__).relative_to(ROOT)} --regenerate-golden makes {package}'s catalogue anew"
        assert file.read_text(encoding="utf-8") == text, told
    for adapters in (registry.TOKENIZERS, registry.GENERATORS):
        found = catalogue.declared("baselines", adapters.decorator, KINDS[adapters.what])
        assert found == specs_of(adapters)
        for name, spec in specs_of(adapters).items():  # in this order they stand in canonical names
            assert list(found[name].options) == list(spec.options)
    assert catalogue.declared("lactok.metrics.rewards", "register_reward", rewards.RewardSpec) == of_rewards


def test_a_module_that_has_changed_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "planted_adapters"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    module = folder / "planted.py"
    module.write_text("@register(TokenizerSpec('planted', 'x', 16, 64, 32, 32, 'MIT'))\nclass Planted: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = TokenizerSpec("planted", "x", 16, 64, 32, 32, "MIT")
    (folder / catalogue.FILE).write_text(catalogue.catalogue_of("planted_adapters", {"register": {"planted": spec}}))
    assert catalogue.declared("planted_adapters", "register", TokenizerSpec) == {"planted": spec}
    assert "planted_adapters.planted" not in sys.modules
    module.write_text(module.read_text() + "# one more line\n")
    catalogue._digest.cache_clear()
    assert catalogue.declared("planted_adapters", "register", TokenizerSpec) == {}
    assert catalogue.declared("json", "register", TokenizerSpec) == {}  # a package without a catalogue
    assert catalogue.declared("no_such_package", "register", TokenizerSpec) == {}


def test_options_are_checked_without_torch() -> None:
    """For tokenizers and generators alike, and for all of them."""
    code = (
        "import sys\nfrom lactok import registry\nfrom lactok.errors import UserError\n"
        "for name in [*registry.TOKENIZERS.own(), *registry.GENERATORS.own()]:\n"
        "    assert registry.spec(name).name == name\n"
        "try: registry.tokenizer_spec('jpeg@bit=3')\n"
        "except UserError as error: print(error)\n"
        "assert registry.tokenizer_spec('flextok-tiny@tokens=4').tokens == 4\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "unknown option of jpeg 'bit', did you mean 'bits'? Available: bits\n[]\n", done.stderr
