"""Comparing two results: whether they can be compared, which settings differ, and paired differences by metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lactok.errors import UserError, WrongValue, one_line, unknown
from lactok.evaluation.jackknife import Resampled
from lactok.evaluation.results import (
    GenerationResult,
    GenEvalResult,
    GfidResult,
    PreferenceResult,
    ProbeResult,
    ReconResult,
    Result,
)
from lactok.evaluation.schema_parts import Entry
from lactok.evaluation.statistics import Difference, distance_difference, holm, paired_difference
from lactok.evaluation.table import decimals
from lactok.metrics.registry import Metric, sorted_keys

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of two results.

    Attributes:
        metric: the metric's key.
        higher: whether a higher value is better.
        first, second: the means over the samples that both results have; for distances of sets (rFID) the results'
            own values. None where nothing was measured.
        difference: second minus first; for distances of sets it has neither interval nor p unless both have values
            without the same groups of images.
        p_corrected: the p-value of the difference, corrected for the number of tests in the table (Holm 1979).
    """

    metric: str
    higher: bool
    first: float | None
    second: float | None
    difference: Difference
    p_corrected: float | None = None

    @property
    def better(self) -> str:
        """Which result is better, "first" or "second"; "" where the interval of the difference includes zero."""
        value = self.difference.value
        if not self.difference.is_apart or value is None:
            return ""
        return "second" if (value > 0) == self.higher else "first"


def paired_images(first: ReconResult, second: ReconResult) -> pandas.DataFrame:
    """Return the records of the images that both results have, in the order of the first.

    Columns that both have end in `_first` or `_second`.

    Raises:
        UserError: records are missing, damaged or name an image twice, or two images with the same id differ.
    """
    records = []
    for run in (first, second):
        frame = run.records
        if not {"id", "sha256"} <= set(frame.columns) or frame["id"].duplicated().any():
            raise UserError(f"{run.name}/records.parquet is not this project's; run the command that made it again")
        records.append(frame)
    both = records[0].merge(records[1], on="id", suffixes=("_first", "_second"))
    changed = both[both["sha256_first"] != both["sha256_second"]]
    if len(changed):
        raise WrongValue(
            f"{first.name} and {second.name} are of different data: {len(changed)} images of the same name differ "
            f"({changed['id'].iloc[0]!a}); run both on the same photographs"
        )
    return both


@dataclass(frozen=True)
class Comparison:
    """Two results, metric by metric.

    Attributes:
        first, second: the results.
        lines: the metrics that both have, in the order of the table.
        notes: sentences that a reader of the table must know.
        changes: the settings that differ between the results: what it is, the first's value, the second's.
    """

    first: Result
    second: Result
    lines: tuple[ComparedMetric, ...]
    notes: tuple[str, ...]
    changes: tuple[tuple[str, str, str], ...]

    def __getitem__(self, metric: str) -> ComparedMetric:
        """Return a metric: its `difference.value`, `.ci95` and `.p`, and which of the two results is `better`.

        Raises:
            UnknownName: the results do not both have it.
        """
        for line in self.lines:
            if line.metric == metric:
                return line
        raise unknown("metric of both", metric, [line.metric for line in self.lines])

    def table(self) -> str:
        """Return the comparison as a Markdown table with a line for each metric; the difference is second minus first.

        Its columns have the names of what was measured, or "first" and "second" where they are the same.
        """
        from tabulate import tabulate

        names = {"first": _cell(self.first.label), "second": _cell(self.second.label)}
        if names["first"] == names["second"]:
            names = {name: name for name in names}
        heads = ["metric", *names.values(), "difference", "95 % interval", "p", "p corrected", "detectable", "n"]
        heads.append("better")
        align = ["left"] + ["right"] * (len(heads) - 2) + ["left"]
        rows = [[*_row(self.first.metric(line.metric), line), names.get(line.better, "-")] for line in self.lines]
        return str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align))

    def as_data(self) -> dict[str, Any]:
        """Return the comparison as dictionaries and lists for JSON, with all digits."""
        metrics = {
            line.metric: {
                "first": line.first,
                "second": line.second,
                "higher_is_better": line.higher,
                "better": line.better,
                "difference": line.difference.value,
                "ci95": line.difference.ci95,
                "p": line.difference.p,
                "p_corrected": line.p_corrected,
                "detectable": line.difference.detectable,
                "n": line.difference.n,
            }
            for line in self.lines
        }
        differs = [{"what": what, "first": a, "second": b} for what, a, b in self.changes]
        runs = {"first": self.first.name, "second": self.second.name}
        return {"schema": 1, **runs, "differs": differs, "metrics": metrics, "notes": list(self.notes)}


def compare(first: Result, second: Result) -> Comparison:
    """Compare two results in the metrics that both have, paired over the samples that both have.

    Args:
        first: a result, from `lactok.evaluate` or `lactok.load_results`.
        second: another result of the same suite.

    Returns:
        The comparison; its differences are second minus first.

    Raises:
        WrongValue: the results cannot be compared; the message says why and how to mend it.
        UserError: records are missing or damaged.

    >>> import tempfile, lactok
    >>> out = tempfile.mkdtemp()
    >>> a, b = (lactok.evaluate(n, metrics="psnr", limit=4, out=out) for n in ("resize-8", "resize-16"))
    >>> lactok.compare(a, b)["psnr"].better
    'second'
    """
    for given in (first, second):
        if not isinstance(given, Result):
            raise WrongValue(f"{type(given).__name__}: no result; give two of lactok.evaluate or lactok.load_results")
    if isinstance(first, GenerationResult) and isinstance(second, GenerationResult):
        raise WrongValue(
            f"{first.name} and {second.name} are pictures that nothing has judged; name results of GenEval or of "
            "preference scores"
        )
    if isinstance(first, GfidResult) and isinstance(second, GfidResult):
        raise WrongValue(
            f"{first.name} and {second.name} are distances of whole sets, which have no pairs; their table shows both"
        )
    if isinstance(first, ProbeResult) and isinstance(second, ProbeResult):
        raise WrongValue(f"{first.name} and {second.name} are probes, which have no paired comparison; see their table")
    if isinstance(first, ReconResult) and isinstance(second, ReconResult):
        lines, notes = _compare_recon(first, second)
    elif isinstance(first, GenEvalResult) and isinstance(second, GenEvalResult):
        lines, notes = _compare_geneval(first, second)
    elif isinstance(first, PreferenceResult) and isinstance(second, PreferenceResult):
        lines, notes = _compare_preference(first, second)
    else:
        raise WrongValue(f"{first.name} and {second.name} are results of different suites; name two of the same one")
    if not lines:
        raise WrongValue(f"{first.name} and {second.name} have no metric in common; run both with the same `metrics`")
    compared = Comparison(first, second, tuple(lines), tuple(notes), tuple(_changed_settings(first, second)))
    return corrected([compared])[0]


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with p-values that are corrected for the number of tests in all of them together.

    Args:
        comparisons: those that a reader looks through for differences.
    """
    p_values = iter(holm([line.difference.p for compared in comparisons for line in compared.lines]))
    return [
        replace(compared, lines=tuple(replace(line, p_corrected=next(p_values)) for line in compared.lines))
        for compared in comparisons
    ]


def _row(metric: Metric, line: ComparedMetric) -> list[str]:
    """Return a line of the table as texts, without its last column."""
    difference = line.difference
    digits = metric.digits + 1  # one more than the metric's own, since differences are smaller

    def number(value: float | None, sign: str = "") -> str:
        return "-" if value is None else decimals(value * metric.scale, digits, sign)

    def chance(p: float | None) -> str:
        if p is None:
            return "-"
        return "< 0.001" if p < 0.001 else f"{p:.3f}"

    interval = "-"
    if difference.ci95:
        interval = f"{number(difference.ci95[0], '+')} to {number(difference.ci95[1], '+')}"
    tests = [chance(difference.p), chance(line.p_corrected), number(difference.detectable)]
    values = [number(line.first), number(line.second), number(difference.value, "+")]
    return [_cell(metric.head), *values, interval, *tests, str(difference.n)]


def _cell(text: str) -> str:
    """Return a text as it stands in a cell of a Markdown table."""
    return one_line(text, None).replace("|", "\\|")


def _compare_recon(first: ReconResult, second: ReconResult) -> tuple[list[ComparedMetric], list[str]]:
    """Return the metrics and the notes of two results of the reconstruction suite."""
    _check_same_protocol(first, second)
    if first.dataset != second.dataset:
        raise WrongValue(
            f"{first.name} is of {first.dataset} and {second.name} of {second.dataset}: different data; run both with "
            "the same `dataset`"
        )
    pairs = paired_images(first, second)
    if not len(pairs):
        raise WrongValue(f"{first.name} and {second.name} have no image in common; run both with the same `limit`")
    lines, notes = [], []
    are_same_images = len(pairs) == first.n == second.n
    for key in sorted_keys([m for m in first.metrics if m in second.metrics]):
        metric = first.metric(key)
        if f"{key}_first" in pairs:
            lines.append(_paired_metric(key, metric.higher, pairs))
            continue
        if are_same_images and first[key].value is not None and second[key].value is not None:
            lines.append(_compared_distance(key, metric.higher, first[key], second[key]))
    if not are_same_images:
        notes.append(
            f"{len(pairs)} images are in both, {first.n} in the first and {second.n} in the second; distances of sets "
            "are left out, since they are of different images."
        )
    return lines, notes


def _compared_distance(key: str, higher: bool, first: Entry, second: Entry) -> ComparedMetric:
    """Compare the distances of two sets of reconstructions of the same images."""
    assert first.value is not None, "only distances that have a value are compared"
    assert second.value is not None, "only distances that have a value are compared"
    difference = set_difference(first, second) or Difference(second.value - first.value, None, None, second.n)
    return ComparedMetric(key, higher, first.value, second.value, difference)


def set_difference(first: Entry, second: Entry) -> Difference | None:
    """Return the second distance minus the first, both of the same images; None unless both have the same groups."""
    ours, theirs = first.groups, second.groups
    if first.value is None or second.value is None or ours is None or theirs is None or ours.sizes != theirs.sizes:
        return None
    a, b = (Resampled(tuple(part.sizes), tuple(part.without)) for part in (ours, theirs))
    return distance_difference(a, b, (first.value, second.value), first.n)


def _paired_metric(
    metric: str, higher: bool, pairs: pandas.DataFrame, groups: Sequence[str] | None = None
) -> ComparedMetric:
    """Compare a metric over pairs of samples.

    Args:
        metric: its key; the columns are `<metric>_first` and `<metric>_second`.
        higher: whether a higher value is better.
        pairs: a row for each pair.
        groups: which pairs belong together, see `paired_difference`.
    """
    a = pairs[f"{metric}_first"].to_numpy("float64", na_value=float("nan"))
    b = pairs[f"{metric}_second"].to_numpy("float64", na_value=float("nan"))
    difference = paired_difference(a, b, groups)
    measured = np.isfinite(a) & np.isfinite(b)
    if not measured.any():
        return ComparedMetric(metric, higher, None, None, difference)
    return ComparedMetric(metric, higher, float(a[measured].mean()), float(b[measured].mean()), difference)


def _check_same_protocol(first: ReconResult, second: ReconResult) -> None:
    """Raise WrongValue unless images were prepared and scored alike, by the same networks."""
    for part, options in (("prepare", "`protocol` and `resolution`"), ("score", "`protocol` and `metrics`")):
        ours, theirs = first.protocol[part], second.protocol[part]
        if ours != theirs:
            keys = ", ".join(_changed_keys(first.protocol["definition"][part], second.protocol["definition"][part]))
            libraries = " and the same versions of libraries" if "versions" in keys else ""
            raise WrongValue(
                f"{first.name} and {second.name} cannot be compared: {part} {ours} is not {theirs} ({keys or 'hash'}); "
                f"run both with the same {options}{libraries}"
            )
    changed = _changed_keys(_network_digests(first), _network_digests(second))
    if changed:
        raise WrongValue(
            f"{first.name} and {second.name} were scored by other networks ({', '.join(changed)}); run both with the "
            "same `weights`"
        )


def _network_digests(result: ReconResult) -> dict[str, str]:
    """Return the sha256 of the networks that computed a result's metrics, by name."""
    return {network["name"]: network["sha256"] for network in result.protocol.get("networks", [])}


def _changed_keys(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ, or that only one of the two has."""
    return [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]


def _check_same_judge(
    first: Result, second: Result, ours: Mapping[str, Any], theirs: Mapping[str, Any], remedy: str
) -> None:
    """Raise WrongValue unless two results were judged by the same version, weights and settings of a judge.

    Args:
        first, second: the results, for the message.
        ours, theirs: the judge as each result describes it, see `_judge_identity`.
        remedy: what the user can do, the message's end.
    """
    changed = [key for key in _changed_keys(ours, theirs) if key not in ("license", "note", "variant")]
    if changed:
        raise WrongValue(
            f"{first.name} and {second.name} cannot be compared: {ours.get('name', 'the scorer')} and "
            f"{theirs.get('name', 'the scorer')} differ ({', '.join(changed)}); {remedy}"
        )


def _judge_identity(judge: Mapping[str, Any]) -> dict[str, Any]:
    """Return a judge's description without where its weights came from: only their digests count."""
    described = {key: value for key, value in judge.items() if key != "assets"}
    described["weights"] = {asset["name"]: asset["sha256"] for asset in judge.get("assets", [])}
    return described


def _compare_geneval(first: GenEvalResult, second: GenEvalResult) -> tuple[list[ComparedMetric], list[str]]:
    """Return the metrics and the notes of two results of GenEval, paired by prompt."""
    for judge in ("detector", "colours", "scorer"):
        ours, theirs = _judge_identity(first.result[judge]), _judge_identity(second.result[judge])
        _check_same_judge(first, second, ours, theirs, "run both with the same `detector` and `colours`")
    both = _prompts(first).merge(_prompts(second), left_index=True, right_index=True, suffixes=("_first", "_second"))
    if not len(both):
        raise WrongValue(f"{first.name} and {second.name} have no prompt in common; judge pictures of the same prompts")
    both = both.reset_index()
    lines = []
    for task, prompts in both.groupby("tag", sort=False):
        lines.append(replace(_paired_metric("correct", True, prompts), metric=str(task)))
    # "overall" is the mean of the tasks: as a mean over prompts, it gives a prompt of a small task more weight
    weights = len(both) / both.groupby("tag")["tag"].transform("size") / both["tag"].nunique()
    weighted = both[["correct_first", "correct_second"]].mul(weights, axis=0)
    lines.append(replace(_paired_metric("correct", True, weighted), metric="overall"))
    return lines, [f"Paired by prompt: {len(both)} are in both; a prompt's value is its share of correct pictures."]


def _prompts(result: GenEvalResult) -> pandas.DataFrame:
    """Return the share of correct pictures of each prompt, indexed by its task and the prompt."""
    records = result.records.dropna(subset=["correct"])
    return records.astype({"correct": "float64"}).groupby(["tag", "metadata"], sort=False)[["correct"]].mean()


def _compare_preference(first: PreferenceResult, second: PreferenceResult) -> tuple[list[ComparedMetric], list[str]]:
    """Return the metrics and the notes of two results of preference scores, paired by picture and caption."""
    if first.result["dataset"]["name"] != second.result["dataset"]["name"]:
        raise WrongValue(
            f"{first.name} and {second.name} are of different captions; score both with the same `captions`"
        )
    ours = {reward["name"]: _judge_identity(reward) for reward in first.result["rewards"]}
    theirs = {reward["name"]: _judge_identity(reward) for reward in second.result["rewards"]}
    shared = [name for name in ours if name in theirs]
    for name in shared:
        remedy = "score both again with the same version and `weights`"
        _check_same_judge(first, second, ours[name], theirs[name], remedy)
    both = first.records.merge(second.records, on=["id", "caption"], suffixes=("_first", "_second"))
    if not shared or not len(both):
        what = "picture and caption" if shared else "reward"
        raise WrongValue(f"{first.name} and {second.name} have no {what} in common; score both with the same options")
    groups = [str(caption) for caption in both["caption"].fillna(both["id"])]
    lines = [_paired_metric(name, first.metric(name).higher, both, groups) for name in shared]
    return lines, [
        f"Paired by picture name and caption: {len(both)} are in both; those of one caption count as one sample."
    ]


def _changed_settings(first: Result, second: Result) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between two results apart from their scores: what it is, the first's value, the second's."""
    ours, theirs = dict(_settings(first)), dict(_settings(second))
    for name in dict.fromkeys([*ours, *theirs]):
        before, after = ours.get(name, "-"), theirs.get(name, "-")
        if before != after:
            yield name, before, after


def _settings(result: Result) -> Iterator[tuple[str, str]]:
    """Yield what a result is of, as (name, value) for a reader: its model, weights, options, protocol, data and run."""
    data = result.result
    pictures = data.get("pictures", {})
    parts = {
        "tokenizer": data.get("tokenizer", {}),
        "generator": pictures.get("generator") or {},
        "pictures": {key: value for key, value in pictures.items() if key != "generator"},
    }
    for part, described in parts.items():
        for key, value in described.items():
            if key == "assets":
                for asset in value:
                    yield f"weights {asset['name']}", str(asset["sha256"])[:12]
            elif key == "options":
                for option, chosen in value.items():
                    yield f"option {option}", str(chosen)
            elif key == "name":
                yield part, str(value)[:40]
            elif key not in ("note", "license", "bpp"):
                yield key, str(value)[:40]
    if isinstance(result, ReconResult):
        yield "protocol", f"{result.protocol['name']} {result.protocol['prepare']}-{result.protocol['score']}"
    if "dataset" in data:
        yield "data set", f"{data['dataset']['name']} {data['dataset']['sha256'][:12]}, n {data['dataset']['n']}"
    for key, value in data.get("run", {}).items():
        yield key, str(value)
