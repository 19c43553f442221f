"""`python -m reports correlations`: which reconstruction figure orders tokenizers as the probes of their ids do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError, one_line, unknown

if TYPE_CHECKING:
    from lactok.evaluation.rank_correlation import RankCorrelation
    from lactok.evaluation.results import ProbeResult, ReconResult, Results
    from lactok.metrics.registry import Metric

FILE = "correlations.md"
INTRODUCTION = """# Rank correlations

Does a tokenizer that is better by a reconstruction figure have ids that are easier to learn from? Each line correlates
the ranks of the tokenizers by a figure of `benchmarks.recon` with their ranks by a figure of `benchmarks.probe`, on the
same photographs. 1: both put the better tokenizers in the same order; -1: in the opposite one.
"""


@dataclass(frozen=True)
class Line:
    """The correlation of one metric with one figure of the probes, over the tokenizers that have both.

    Attributes:
        metric: of the reconstruction suite.
        found: the correlation; positive where the better by the one are the better by the other.
        p_corrected: its p-value, corrected for the number of lines of the table.
    """

    metric: Metric
    found: RankCorrelation
    p_corrected: float | None


@dataclass(frozen=True)
class Group:
    """Tokenizers whose reconstructions and probes may be compared.

    Attributes:
        pairs: of each tokenizer its reconstructions and its probe.
    """

    pairs: tuple[tuple[ReconResult, ProbeResult], ...]

    @property
    def title(self) -> str:
        """The photographs, the protocol and the budget, in words."""
        from reports.tables.groups import title_of

        recon, probe = self.pairs[0]
        return f"{title_of(recon)}, budget {probe.data.probe.hash}"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `correlations` to a parser."""
    p.add_argument(
        "--runs", nargs="+", default=["runs"], metavar="DIR", help="folders of results, and bundles (default: runs)"
    )
    p.add_argument("--dataset", metavar="NAME", help="of this data set alone (default: of all)")
    p.add_argument(
        "--without", nargs="+", default=[], metavar="TOKENIZER", help="leave tokenizers out, such as an outlier"
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables and return 0."""
    from lactok.evaluation.results import load_results
    from lactok.evaluation.terminal import fitted

    results = load_results(*args.runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    if not results.probe:
        raise UserError("`runs` holds no probes; make some: python -m benchmarks.probe --runs " + " ".join(args.runs))
    found = groups(results)
    if not found:
        raise UserError(
            "no probe in `runs` is of the ids of a reconstruction in it; name the folder of both, or several folders"
        )
    _check_names(found, args.dataset, args.without)
    chosen = []
    for group in found:
        pairs = tuple(pair for pair in group.pairs if pair[0].label not in args.without)
        if pairs and args.dataset in (None, pairs[0][0].dataset):
            chosen.append(Group(pairs))
    print(fitted(_text(chosen)), end="")
    return 0


def _check_names(found: Sequence[Group], dataset: str | None, without: Sequence[str]) -> None:
    """Raise UnknownName for a data set or a tokenizer that there is no probe of."""
    sets = {group.pairs[0][0].dataset for group in found}
    if dataset is not None and dataset not in sets:
        raise unknown("data set with probes", dataset, sets)
    labels = {recon.label for group in found for recon, _ in group.pairs}
    for name in without:
        if name not in labels:
            raise unknown("tokenizer with a probe", name, labels)


def build(results: Results, out: Path) -> None:
    """Write `correlations.md` in the folder of a report, or remove that of an earlier one where there are no probes.

    Args:
        results: all results.
        out: the folder.
    """
    from lactok.files import write_atomically

    found = groups(results)
    if found:
        write_atomically(out / FILE, _text(found).encode("utf-8", "replace"))
        print(f"written: {out / FILE}")
    else:
        (out / FILE).unlink(missing_ok=True)


def groups(results: Results) -> list[Group]:
    """Return the tokenizers that have reconstructions and a probe of the same ids, in groups that may be compared.

    They share the photographs, the protocol with all its metrics, and the budget of the probes.
    """
    from lactok.evaluation.names import is_control
    from lactok.evaluation.probe_table import made_of, same_work
    from reports.tables.groups import group_of

    probes: dict[str, list[ProbeResult]] = {}
    for probe in results.probe:
        probes.setdefault(made_of(probe), []).append(probe)
    found: dict[tuple[str, ...], list[tuple[ReconResult, ProbeResult]]] = {}
    for recon in results.recon:
        if not is_control(recon.label):
            for probe in probes.get(made_of(recon), ()):
                settings = (recon.dtype, str(recon.seed))
                found.setdefault((*group_of(recon), *same_work(probe), *settings), []).append((recon, probe))
    return [Group(tuple(found[key])) for key in sorted(found)]


def _text(found: Sequence[Group]) -> str:
    """Return the tables of groups with an introduction."""
    return "\n".join([INTRODUCTION, *(part for group in found for part in _sections(group))])


def _sections(group: Group) -> Iterator[str]:
    """Yield the heading of a group and, for each figure of the probes, a table with a line for each metric."""
    from lactok.evaluation.probe_parts import FIGURES
    from lactok.evaluation.probe_table import notes

    yield f"## {one_line(group.title)}\n"
    names = ", ".join(one_line(recon.label) for recon, _ in group.pairs)
    yield "\n".join([f"{_counted(len(group.pairs))}: {names}.", *notes([probe for _, probe in group.pairs])]) + "\n"
    for key, figure in FIGURES.items():
        if any(key in probe.metrics and probe[key].value is not None for _, probe in group.pairs):
            yield f"### {figure.title}\n\n{_table(lines(group, figure))}\n"
    yield "\n".join(_explained(len(group.pairs))) + "\n"


def lines(group: Group, figure: Metric) -> list[Line]:
    """Correlate each metric of the reconstructions, and their nominal bits, with a figure of the probes.

    Args:
        group: the tokenizers.
        figure: the figure.
    """
    import numpy as np

    from lactok.evaluation.rank_correlation import rank_correlation
    from lactok.evaluation.statistics import holm
    from lactok.evaluation.table import metrics_of
    from lactok.metrics.registry import Metric

    bits = Metric("bits", "nominal bits", False, 0, own=False)
    found = []
    for metric in (*metrics_of([recon for recon, _ in group.pairs]), bits):
        values = []
        for recon, probe in group.pairs:
            first = recon.data.tokenizer.bits if metric is bits else _value(recon.metrics, metric.key)
            second = _value(probe.metrics, figure.key)
            if first is not None and second is not None:
                values.append((first, second))
        first_values, second_values = np.array(values, np.float64).reshape(-1, 2).T
        sign = 1.0 if metric.higher == figure.higher else -1.0
        found.append((metric, rank_correlation(sign * first_values, second_values)))
    corrected = holm([each.p for _, each in found])
    return [Line(metric, each, p) for (metric, each), p in zip(found, corrected, strict=True)]


def _value(metrics: Mapping[str, object], key: str) -> float | None:
    """Return the value of an entry, None where there is none."""
    entry = metrics.get(key)
    value = getattr(entry, "value", None)
    return None if value is None else float(value)


def _table(found: Sequence[Line]) -> str:
    """Return lines as a Markdown table."""
    from tabulate import tabulate

    rows = []
    for line in found:
        each = line.found
        row = [one_line(line.metric.head, None).replace("|", "\\|")]
        row += [
            _number(each.spearman),
            _interval(each.spearman_ci95),
            _number(each.kendall),
            _interval(each.kendall_ci95),
        ]
        rows.append([*row, _chance(each.p), _chance(line.p_corrected), str(each.n), _reading(line)])
    heads = ["metric", "Spearman", "95 %", "Kendall", "95 %", "p", "p, corrected", "n", "reading"]
    align = ["left", *["right"] * 7, "left"]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align)


def _reading(line: Line) -> str:
    """Return in words what a line allows to say."""
    from lactok.evaluation.rank_correlation import FEWEST, LEVEL

    if line.found.n < FEWEST:
        return "too few tokenizers"
    if line.found.spearman is None or line.p_corrected is None:
        return "the same for all"
    if line.p_corrected > LEVEL:
        return "undecided"
    return "same order" if line.found.spearman > 0 else "opposite order"


def _explained(n: int) -> list[str]:
    """Return what a reader of the tables of so many tokenizers must know."""
    from lactok.evaluation.rank_correlation import FEW, FEWEST, smallest_significant

    said = [
        "A correlation is positive where the tokenizers better by the metric are better by the probe's figure; "
        "fewer nominal bits count as better, and many figures follow the bits alone. 95 %: percentile bootstrap over "
        "tokenizers. p: permutation test of Spearman's, exact up to 8 tokenizers; corrected (Holm) for the lines of a "
        "table. Undecided: corrected p above 0.05."
    ]
    least = smallest_significant(n)
    if least is None:
        said.append(
            f"{_counted(n)} are too few to conclude anything: of fewer than {FEWEST}, every order comes by chance in "
            "more than 5 % of cases."
        )
    elif n < FEW:
        said.append(
            f"{_counted(n)} are few: a single correlation below {least:.2f}, of either sign, comes by chance in more "
            f"than 5 % of cases, and of fewer than {FEW} the intervals are too narrow."
        )
    said.append("Tokenizers of one family or one training are no independent cases; the tests take them as such.")
    return said


def _counted(n: int) -> str:
    """Return a number of tokenizers in words."""
    return "1 tokenizer" if n == 1 else f"{n} tokenizers"


def _number(value: float | None) -> str:
    """Return a correlation as a cell."""
    return "-" if value is None else f"{value:+z.2f}"


def _interval(ends: tuple[float, float] | None) -> str:
    """Return an interval as a cell."""
    return "-" if ends is None else f"{ends[0]:+z.2f} to {ends[1]:+z.2f}"


def _chance(p: float | None) -> str:
    """Return a p-value as a cell."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
