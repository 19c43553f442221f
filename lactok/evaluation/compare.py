"""Two results side by side: whether they can be compared, what differs between them, their values paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lactok.errors import UserError, WrongValue, unknown
from lactok.evaluation.results import GenerationResult, GenEvalResult, PreferenceResult, ReconResult, Result
from lactok.evaluation.statistics import Difference, paired_difference
from lactok.evaluation.table import one_line
from lactok.metrics.registry import Metric, sorted_keys

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Line:
    """A metric of two runs.

    Attributes:
        first, second: means over the pairs; of distances of sets the runs' own values.
        difference: second minus first; without interval and p for distances of sets.
    """

    metric: str
    higher: bool
    first: float | None
    second: float | None
    difference: Difference

    @property
    def better(self) -> str:
        """Which run is better beyond the interval: "first", "second" or ""."""
        value = self.difference.value
        if not self.difference.is_apart or value is None:
            return ""
        return "second" if (value > 0) == self.higher else "first"


def paired_images(first: ReconResult, second: ReconResult) -> pandas.DataFrame:
    """Records of the images that both runs have, in the order of the first; columns end in `_first` or `_second`.

    Raises:
        UserError: records that are missing, damaged or name an image twice, or images of one id that differ.
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
        lines: the metrics that both have.
        notes: what a reader must know.
        changes: what differs between them apart from their numbers: what, the first's, the second's.
    """

    first: Result
    second: Result
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    changes: tuple[tuple[str, str, str], ...]

    def __getitem__(self, metric: str) -> Line:
        """A metric's line: `difference.value`, `.ci95` and `.p`, and which of the two is `better`; or UnknownName."""
        for line in self.lines:
            if line.metric == metric:
                return line
        raise unknown("metric of both", metric, [line.metric for line in self.lines])

    def table(self) -> str:
        """A line a metric, as Markdown."""
        from tabulate import tabulate

        heads = ["metric", "first", "second", "second - first", "95 % interval", "p", "n", "better"]
        align = ["left"] + ["right"] * 6 + ["left"]
        rows = [_row(self.first.metric(line.metric), line) for line in self.lines]
        return str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align))

    def as_data(self) -> dict[str, Any]:
        """What JSON can hold, all digits kept."""
        metrics = {
            line.metric: {
                "first": line.first,
                "second": line.second,
                "higher_is_better": line.higher,
                "better": line.better,
                "difference": line.difference.value,
                "ci95": line.difference.ci95,
                "p": line.difference.p,
                "n": line.difference.n,
            }
            for line in self.lines
        }
        differs = [{"what": what, "first": a, "second": b} for what, a, b in self.changes]
        runs = {"first": self.first.name, "second": self.second.name}
        return {"schema": 1, **runs, "differs": differs, "metrics": metrics, "notes": list(self.notes)}


def compare(first: Result, second: Result) -> Comparison:
    """The metrics that two results both have, paired over the samples that both have.

    Args:
        first, second: of one suite, from `lactok.evaluate` or `lactok.load_results`; differences are second minus
            first.

    Raises:
        WrongValue: they cannot be compared; says why and how to mend it.
        UserError: records that are missing or damaged.

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
    if isinstance(first, ReconResult) and isinstance(second, ReconResult):
        lines, notes = _recon(first, second)
    elif isinstance(first, GenEvalResult) and isinstance(second, GenEvalResult):
        lines, notes = _geneval(first, second)
    elif isinstance(first, PreferenceResult) and isinstance(second, PreferenceResult):
        lines, notes = _preference(first, second)
    else:
        raise WrongValue(f"{first.name} and {second.name} are results of different suites; name two of the same one")
    if not lines:
        raise WrongValue(f"{first.name} and {second.name} have no metric in common; run both with the same `metrics`")
    return Comparison(first, second, tuple(lines), tuple(notes), tuple(differences(first, second)))


def _row(metric: Metric, line: Line) -> list[str]:
    d = line.difference
    digits = metric.digits + 1  # differences are smaller than what they are of

    def number(value: float | None, sign: str = "") -> str:
        return "-" if value is None else f"{value * metric.scale:{sign}.{digits}f}"

    interval = f"{number(d.ci95[0], '+')} to {number(d.ci95[1], '+')}" if d.ci95 else "-"
    p = "-" if d.p is None else "< 0.001" if d.p < 0.001 else f"{d.p:.3f}"
    values = [number(line.first), number(line.second), number(d.value, "+")]
    name = one_line(metric.head).replace("|", "\\|")
    return [name, *values, interval, p, str(d.n), line.better or "-"]


def _recon(first: ReconResult, second: ReconResult) -> tuple[list[Line], list[str]]:
    _same_protocol(first, second)
    if first.dataset != second.dataset:
        raise WrongValue(
            f"{first.name} is of {first.dataset} and {second.name} of {second.dataset}: different data; run both with "
            "the same `dataset`"
        )
    pairs = paired_images(first, second)
    if not len(pairs):
        raise WrongValue(f"{first.name} and {second.name} have no image in common; run both with the same `limit`")
    lines, notes = [], []
    whole = len(pairs) == first.n == second.n
    for key in sorted_keys([m for m in first.metrics if m in second.metrics]):
        metric = first.metric(key)
        if f"{key}_first" in pairs:
            lines.append(_line(key, metric.higher, pairs))
            continue
        a, b = first[key].value, second[key].value
        if whole and a is not None and b is not None:
            lines.append(Line(key, metric.higher, a, b, Difference(b - a, None, None, len(pairs))))
    if not whole:
        notes.append(
            f"{len(pairs)} images are in both, {first.n} in the first and {second.n} in the second; distances of sets "
            "are left out, since they are of different images."
        )
    return lines, notes


def _line(metric: str, higher: bool, pairs: pandas.DataFrame, groups: Sequence[str] | None = None) -> Line:
    a, b = (pairs[f"{metric}_{which}"].to_numpy("float64", na_value=float("nan")) for which in ("first", "second"))
    both = ~(a != a) & ~(b != b)
    first, second = (float(x[both].mean()) if both.any() else None for x in (a, b))
    return Line(metric, higher, first, second, paired_difference(a, b, groups))


def _same_protocol(first: ReconResult, second: ReconResult) -> None:
    for part, options in (("prepare", "`protocol` and `resolution`"), ("score", "`protocol` and `metrics`")):
        ours, theirs = first.protocol[part], second.protocol[part]
        if ours != theirs:
            keys = ", ".join(_changed(first.protocol["definition"][part], second.protocol["definition"][part]))
            libraries = " and the same versions of libraries" if "versions" in keys else ""
            raise WrongValue(
                f"{first.name} and {second.name} cannot be compared: {part} {ours} is not {theirs} ({keys or 'hash'}); "
                f"run both with the same {options}{libraries}"
            )
    networks = [{n["name"]: n["sha256"] for n in run.protocol.get("networks", [])} for run in (first, second)]
    if changed := _changed(*networks):
        raise WrongValue(
            f"{first.name} and {second.name} were scored by other networks ({', '.join(changed)}); run both with the "
            "same `weights`"
        )


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    return [k for k in dict.fromkeys([*first, *second]) if first.get(k) != second.get(k)]


def _same_judges(first: Result, second: Result, judges: Sequence[Mapping[str, Any]], remedy: str) -> None:
    """Raise UserError unless the judges of one name are the same ones: version, weights, settings."""
    for own, others in zip(judges[::2], judges[1::2], strict=True):
        changed = [k for k in _changed(own, others) if k not in ("license", "note", "variant")]
        if changed:
            raise WrongValue(
                f"{first.name} and {second.name} cannot be compared: {own.get('name', 'the scorer')} and "
                f"{others.get('name', 'the scorer')} differ ({', '.join(changed)}); {remedy}"
            )


def _digests(judge: Mapping[str, Any]) -> dict[str, Any]:
    """A judge without where its weights came from."""
    assets = {a["name"]: a["sha256"] for a in judge.get("assets", [])}
    return {k: v for k, v in judge.items() if k != "assets"} | {"weights": assets}


def _geneval(first: GenEvalResult, second: GenEvalResult) -> tuple[list[Line], list[str]]:
    judges = [_digests(r.result[k]) for k in ("detector", "colours", "scorer") for r in (first, second)]
    _same_judges(first, second, judges, "run both with the same `detector` and `colours`")
    values, suffixes = (_prompts(first), _prompts(second)), ("_first", "_second")
    both = values[0].merge(values[1], left_index=True, right_index=True, suffixes=suffixes)
    if not len(both):
        raise WrongValue(f"{first.name} and {second.name} have no prompt in common; judge pictures of the same prompts")
    both = both.reset_index()
    lines = [_line("correct", True, group) for _, group in both.groupby("tag", sort=False)]
    names = [str(tag) for tag, _ in both.groupby("tag", sort=False)]
    lines = [Line(n, True, x.first, x.second, x.difference) for n, x in zip(names, lines, strict=True)]
    # the mean of the tasks as a mean over prompts: each weighs as much as its task has few
    weights = len(both) / both.groupby("tag")["tag"].transform("size") / both["tag"].nunique()
    line = _line("correct", True, both[["correct_first", "correct_second"]].mul(weights, axis=0))
    lines.append(Line("overall", True, line.first, line.second, line.difference))
    return lines, [f"Paired by prompt: {len(both)} are in both; a prompt's value is its share of correct pictures."]


def _prompts(run: GenEvalResult) -> pandas.DataFrame:
    records = run.records.dropna(subset=["correct"])
    return records.astype({"correct": "float64"}).groupby(["tag", "metadata"], sort=False)[["correct"]].mean()


def _preference(first: PreferenceResult, second: PreferenceResult) -> tuple[list[Line], list[str]]:
    if first.result["dataset"]["name"] != second.result["dataset"]["name"]:
        raise WrongValue(
            f"{first.name} and {second.name} are of different captions; score both with the same `captions`"
        )
    known = [{r["name"]: _digests(r) for r in run.result["rewards"]} for run in (first, second)]
    shared = [name for name in known[0] if name in known[1]]
    _same_judges(
        first, second, [k[n] for n in shared for k in known], "score both again with the same version and `weights`"
    )
    both = first.records.merge(second.records, on=["id", "caption"], suffixes=("_first", "_second"))
    if not shared or not len(both):
        what = "picture and caption" if shared else "reward"
        raise WrongValue(f"{first.name} and {second.name} have no {what} in common; score both with the same options")
    groups = [str(c) for c in both["caption"].fillna(both["id"])]
    lines = [_line(n, first.metric(n).higher, both, groups) for n in shared]
    return lines, [f"Paired by picture name and caption: {len(both)} are in both; captions are resampled."]


def differences(first: Result, second: Result) -> Iterator[tuple[str, str, str]]:
    """What differs between two runs apart from their scores: what, the first's, the second's."""
    ours, theirs = (dict(_facts(r)) for r in (first, second))
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key, "-") != theirs.get(key, "-"):
            yield key, ours.get(key, "-"), theirs.get(key, "-")


def _facts(run: Result) -> Iterator[tuple[str, str]]:
    result = run.result
    pictures = result.get("pictures", {})
    parts = {
        "tokenizer": result.get("tokenizer", {}),
        "generator": pictures.get("generator") or {},
        "pictures": {k: v for k, v in pictures.items() if k != "generator"},
    }
    for key, part in parts.items():
        for name, value in part.items():
            if name == "assets":
                yield from ((f"weights {a['name']}", str(a["sha256"])[:12]) for a in value)
            elif name == "options":
                yield from ((f"option {k}", str(v)) for k, v in value.items())
            elif name not in ("note", "license", "bpp"):
                yield key if name == "name" else name, str(value)[:40]
    if isinstance(run, ReconResult):
        yield "protocol", f"{run.protocol['name']} {run.protocol['prepare']}-{run.protocol['score']}"
    if "dataset" in result:
        yield "data set", f"{result['dataset']['name']} {result['dataset']['sha256'][:12]}, n {result['dataset']['n']}"
    yield from ((k, str(v)) for k, v in result.get("run", {}).items())
