"""Does an adapter keep the contract of `lactok.Tokenizer`? All rules tried on it, and what they found, in words."""

from __future__ import annotations

from benchmarks.contract.probe import Broken, Finding, Inapplicable, NotTried, Trial, one_line, place
from benchmarks.contract.rules import RULES, Rule
from lactok import registry
from lactok.errors import UserError
from lactok.extras import MissingPackage, extras_named


def check(name: str, device: str = "cpu") -> list[Finding]:
    """Try every rule on an adapter, with its weights, on three photographs.

    Args:
        name: as for `lactok.load`, options included.
        device: where the adapter computes.

    Returns:
        One finding for each rule that applies, in the order in which they are best mended.

    Raises:
        UserError: an unknown name or option, damaged weights; WeightsNotFound where no source has them. What the
            adapter itself does wrong is a finding.
        MissingPackage: a package of an extra, which the adapter or the photographs need, is not installed.
    """
    registry.TOKENIZERS.check_name(name)
    try:
        entry = registry.TOKENIZERS.entry(name.partition("@")[0])
    except MissingPackage:
        raise
    except Exception as error:  # the plug-in's module does not import, or does not register the name
        return [Finding("registered", "FAIL", one_line(error) + place(error.__cause__ or error))]
    trial = Trial(name, entry, device)
    try:
        registry.resolve_assets(name)
    except UserError:
        raise
    except Exception as error:  # its own converter
        return [_failure("weights", error, trial)]
    findings: list[Finding] = []
    for title, rule in RULES.items():
        found = _try(title, rule, trial)
        same = next((f.rule for f in findings if found is not None and f.text == found.text), None)
        if found is not None and found.state == "FAIL" and same:  # one mistake is one finding
            found = Finding(title, "-", f"not tried: as {same!r}, see above")
        findings += [found] if found is not None else []
    return findings


def _try(title: str, rule: Rule, trial: Trial) -> Finding | None:
    try:
        with extras_named(("evaluation",), "the contract"):
            return Finding(title, "ok", rule(trial))
    except MissingPackage:
        raise
    except Inapplicable:
        return None
    except NotTried as reason:
        return Finding(title, "-", f"not tried: {reason}")
    except Broken as broken:
        return Finding(title, "FAIL", str(broken))
    except (Exception, SystemExit) as error:
        return _failure(title, error, trial)


def _failure(title: str, error: BaseException, trial: Trial) -> Finding:
    return Finding(title, "FAIL", f"{type(error).__name__}: {one_line(error)}{place(error, trial.home)}")


def report(name: str, findings: list[Finding]) -> str:
    """One line a rule, and the sum."""
    width = max(len(f.rule) for f in findings)
    lines = [f"{f.state:5} {f.rule:{width}}  {f.text}" for f in findings]
    count = {state: sum(f.state == state for f in findings) for state in ("ok", "FAIL", "-")}
    untried = f", {count['-']} not tried" if count["-"] else ""
    return "\n".join([*lines, f"{name}: {count['ok']} rules hold, {count['FAIL'] or 'none'} broken{untried}"])


def run_check(name: str, device: str = "cpu", folder: str | None = None) -> int:
    """Print the report of an adapter.

    Args:
        name, device: as in `check`.
        folder: with weights, looked into before every other source.

    Returns:
        The exit code: 0 if every rule holds, 3 if one does not.
    """
    from lactok import weights
    from lactok.device import check_device

    if folder:
        weights.use_folder(folder)
    findings = check(name, check_device(device))
    print(report(name, findings))
    return 3 if any(f.state == "FAIL" for f in findings) else 0
