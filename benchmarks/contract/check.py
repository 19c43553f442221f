"""Try every rule of the contract of `lactok.Tokenizer` on an adapter and report in words what was found."""

from __future__ import annotations

from collections import Counter

from benchmarks.contract.probe import Broken, Finding, Inapplicable, NotTried, Trial, location, one_line
from benchmarks.contract.rules import RULES, Rule
from lactok import registry
from lactok.errors import UserError
from lactok.extras import MissingPackage, extras_named


def check(name: str, device: str = "cpu", random: bool = False) -> list[Finding]:
    """Try every rule on an adapter, with its weights, on three photographs.

    Args:
        name: as for `lactok.load`, options included.
        device: where the adapter computes.
        random: take random weights instead, so that no file is needed; how files are read is not tried then.

    Returns:
        One finding for each rule that applies, in the order in which mistakes are best mended.

    Raises:
        UserError: the name or an option is unknown, or the weights are damaged; WeightsNotFound where no source has
            them. What the adapter itself does wrong is not raised: it is a finding.
        MissingPackage: a package of an extra, which the adapter or the photographs need, is not installed.
    """
    registry.TOKENIZERS.check_name(name)
    try:
        entry = registry.TOKENIZERS.entry(name.partition("@")[0])
    except MissingPackage:
        raise
    except Exception as error:  # the plug-in's module does not import, or does not register the name
        return [Finding("registered", "FAIL", one_line(error) + location(error.__cause__ or error))]
    trial = Trial(name, entry, device, random)
    try:
        if not random:
            registry.resolve_assets(name)
    except UserError:
        raise
    except Exception as error:  # the asset's own converter of checkpoints failed
        return [_failure("weights", error, trial)]
    findings: list[Finding] = []
    for title, rule in RULES.items():
        finding = _try(title, rule, trial)
        if finding is None:
            continue
        if finding.state == "FAIL":
            for earlier in findings:
                if earlier.text == finding.text:  # the same mistake is reported once
                    finding = Finding(title, "-", f"not tried: as {earlier.rule!r}, see above")
                    break
        findings.append(finding)
    return findings


def _try(title: str, rule: Rule, trial: Trial) -> Finding | None:
    """Return what a rule found, or None where it does not apply to this tokenizer."""
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
    """Return the finding of an exception that the adapter itself raised."""
    return Finding(title, "FAIL", f"{type(error).__name__}: {one_line(error)}{location(error, trial.source_file)}")


def report(name: str, findings: list[Finding]) -> str:
    """Return one line for each finding, then how many rules hold and how many are broken."""
    width = max(len(f.rule) for f in findings)
    lines = [f"{f.state:5} {f.rule:{width}}  {f.text}" for f in findings]
    count = Counter(f.state for f in findings)
    untried = f", {count['-']} not tried" if count["-"] else ""
    return "\n".join([*lines, f"{name}: {count['ok']} rules hold, {count['FAIL'] or 'none'} broken{untried}"])


def run_check(name: str, device: str = "cpu", folder: str | None = None, random: bool = False) -> int:
    """Print the report of an adapter.

    Args:
        name: as for `lactok.load`, options included.
        device: where the adapter computes.
        folder: a folder with weights, searched before every other source; None for the usual sources alone.
        random: see `check`.

    Returns:
        The exit code: 0 if every rule holds, 3 if one does not.
    """
    from lactok import weights
    from lactok.device import check_device

    if folder:
        weights.use_folder(folder)
    findings = check(name, check_device(device), random)
    print(report(name, findings))
    return 3 if any(f.state == "FAIL" for f in findings) else 0
