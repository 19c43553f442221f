"""`python -m benchmarks.probe`: what can be learned from the ids of tokenizers, at one budget for all."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.probe import labels
from benchmarks.probe.budget import Budget
from benchmarks.recon import asked as of_recon
from lactok.command import Parser, command, given, interpreter, refuse_beside
from lactok.errors import UserError, WrongValue, disk_errors, integer, unknown, whole
from lactok.evaluation.config import RANGES, Settings, split_names
from lactok.evaluation.options import add_options

if TYPE_CHECKING:
    from benchmarks.probe.work import Asked
    from lactok.evaluation.config import Run
    from lactok.evaluation.results import ProbeResult, ReconResult

WITH_RUNS = ("out", "device", "threads", "weights")  # shared options that go with stored runs


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.probe",
        description="A linear probe and a small autoregressive model on the ids of tokenizers, with the same steps, "
        "parameters and tokens for all. The ids are those that benchmarks.recon stored, or are made first.",
        examples={
            "every row with ids in a folder of results": "--runs runs",
            "two of its tokenizers, with labels from a file": '--runs runs --tokenizers "titok-s128 llamagen-vq16" '
            "--labels labels.csv",
            "make and score reconstructions first, in folders of classes": "--tokenizers llamagen-vq16-tiny "
            "--dataset PHOTOGRAPHS",
        },
    )
    p.add_argument("--runs", nargs="+", metavar="DIR", help="folders of results, and bundles: probe their ids")
    p.add_argument(
        "--tokenizers",
        metavar="NAMES",
        help="names separated by spaces or commas, options after @; or local, or all; without --runs their "
        "reconstructions are made and scored first, as benchmarks.recon does it",
    )
    p.add_argument(
        "--labels",
        default="folders",
        metavar="SOURCE",
        help="folders: the folder that holds a photograph is its class; FILE.csv: its rows are name,label; none "
        "(default: %(default)s)",
    )
    p.add_argument("--vectors", action="store_true", help="probe the mean code vectors too; loads the tokenizers")
    for name, default, about in (
        ("--steps", Budget.steps, "of the autoregressive model's training"),
        ("--probe-seed", Budget.seed, "of that training"),
    ):
        p.add_argument(name, type=integer, default=default, metavar="N", help=f"{about} (default: %(default)s)")
    add_options(p)
    p.add_argument("--strict", action="store_true", help="exit with 3 if any tokenizer lacks its weights")
    p.add_argument("--dry-run", action="store_true", help="say what would be probed")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a row failed, or lacks its weights and was asked for."""
    own = parser()
    args = own.parse_args(argv)
    check_combinations(given(own, argv))
    settings = Settings.of(vars(args))
    settings.check()
    if settings.part:
        raise WrongValue("`part`: a probe learns from all ids at once; leave it out")
    budget = replace(
        Budget(),
        steps=whole("steps", args.steps, 1, 10**7),
        seed=whole("probe_seed", args.probe_seed, 0, RANGES["seed"][1]),
    )
    labels.check(args.labels)
    names = tokenizer_names(args.tokenizers, settings) if args.runs is None else named_rows(args.tokenizers)
    settings.use_machine()
    run, out = settings.run(), Path(settings.out)
    if args.runs is None and args.dry_run:
        print(plan_of_tokenizers(names, settings, run))
        return 0
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    if args.runs is not None:
        rows = stored_rows(args.runs, names)
    else:
        rows, missing, failed = measured_rows(names, settings, run, args.tokenizers != "local")
    from benchmarks.probe.work import Asked
    from lactok.evaluation.measuring import report_unfinished

    asked = Asked(budget, args.labels, args.vectors)
    if args.dry_run:
        from benchmarks.probe.dry_run import plan

        print(plan(rows, asked))
        return 0
    results, without_weights, broken = probed(rows, asked, run, out)
    if results:
        show(results, out, args.runs or ())
    were_named = args.tokenizers not in (None, *of_recon.ALL)
    return report_unfinished(missing | without_weights, failed | broken, args.strict or were_named or args.vectors)


def check_combinations(named: Collection[str]) -> None:
    """Raise WrongValue for arguments of which one would leave the other without effect.

    Args:
        named: the arguments that the user gave.
    """
    if not {"runs", "tokenizers"} & set(named):
        raise WrongValue(
            "name what is to be probed: `runs` DIR, the ids that benchmarks.recon stored there; or `tokenizers` NAMES, "
            "whose reconstructions are made first"
        )
    others = [f.name for f in fields(Settings) if f.name not in WITH_RUNS]
    refuse_beside("runs", others, named, "since stored ids were made already")


def tokenizer_names(asked: str, settings: Settings) -> list[str]:
    """Return the tokenizers whose reconstructions are to be made; of `all` and `local` those with ids.

    Raises:
        UserError: an unknown name, a wrong option or setting, or a tokenizer without ids was named.
    """
    from lactok import registry

    settings.check_names()
    names = of_recon.tokenizer_names(asked)
    with_ids = [name for name in names if registry.tokenizer_spec(name).codebook_size is not None]
    without = [name for name in names if name not in with_ids]
    if without and asked not in of_recon.ALL:
        raise WrongValue(f"`tokenizers` {without[0]} has no ids that could be probed; leave it out")
    return with_ids


def named_rows(asked: str | None) -> list[str]:
    """Return the tokenizers whose stored rows are to be probed; none for all of them."""
    return [] if asked is None or asked in of_recon.ALL else split_names(asked)


def stored_rows(runs: Sequence[str], names: Sequence[str]) -> list[ReconResult]:
    """Return the rows with ids that are stored in folders of results and in bundles.

    Args:
        runs: the folders and bundles.
        names: the tokenizers to take; all if there are none.

    Raises:
        UserError: there is none, or none of a tokenizer that is named.
    """
    from benchmarks.probe.rows import with_ids
    from lactok.evaluation.results import load_results

    results = load_results(*runs)
    for line in results.left_out:
        print(line, file=sys.stderr)
    rows = with_ids(results.recon)
    labels = {row.label for row in rows}
    for name in names:
        if name not in labels:
            raise unknown("tokenizer with stored ids", name, labels)
    if not rows:
        raise UserError("`runs` holds no row of benchmarks.recon with ids; name `tokenizers` instead to make some")
    return [row for row in rows if not names or row.label in names]


def measured_rows(
    names: Sequence[str], settings: Settings, run: Run, fetch: bool
) -> tuple[list[ReconResult], dict[str, str], dict[str, str]]:
    """Make and score reconstructions, what is stored already not again.

    Args:
        names: the tokenizers.
        settings, run: as for `python -m benchmarks.recon`.
        fetch: whether weights that are not on this machine are fetched.

    Returns:
        The rows with ids; the tokenizers whose weights are missing, and those that failed, each with the reason.
    """
    from benchmarks.probe.rows import with_ids
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources
    from lactok.evaluation.metric_networks import with_networks

    run = with_networks(run, settings.metrics)
    sources, missing, failed = resolve_sources(names, fetch, run.protocol)
    outcome = evaluate_sources(sources, settings.data(), run, settings.execution())
    return with_ids(outcome.results), missing, failed | outcome.failed


def plan_of_tokenizers(names: Sequence[str], settings: Settings, run: Run) -> str:
    """Return what the reconstructions would take that are made before the probes, and how to see those."""
    from benchmarks.recon.dry_run import plan
    from lactok.evaluation.metric_networks import known_networks

    found = plan(names, settings.data(), replace(run, networks=known_networks(run)), Path(settings.out))
    return f"{found}\n\nThen their ids are probed; --runs {settings.out} --dry-run shows that once they are stored."


def probed(
    rows: Sequence[ReconResult], asked: Asked, run: Run, out: Path
) -> tuple[list[ProbeResult], dict[str, str], dict[str, str]]:
    """Probe rows one by one; where one fails, the others go on.

    Returns:
        The results; the rows whose weights are missing, and those that failed, each with the reason.
    """
    from benchmarks.probe import result
    from benchmarks.probe import rows as stored
    from benchmarks.probe.work import Prober
    from lactok.evaluation.measuring import one_by_one
    from lactok.evaluation.timing import Timer

    prober, by_name = Prober(asked, run, out), {row.name: row for row in rows}

    def probe(name: str) -> ProbeResult:
        timer = Timer(run.device)
        found = prober.probe(stored.read(by_name[name], asked.budget), timer)
        return result.write(found, asked, run, out, timer)

    return one_by_one(list(by_name), probe)


def show(results: Sequence[ProbeResult], out: Path, runs: Sequence[str | Path]) -> None:
    """Print a table of each data set and write all into one file in `out`; `runs` are where the reconstructions are."""
    from lactok.evaluation.probe_table import groups, markdown
    from lactok.evaluation.protocol import digest
    from lactok.evaluation.terminal import fitted
    from lactok.files import write_atomically

    tables = []
    for group in groups(results):
        first = group[0]
        tables.append(f"{first.dataset}: {first.n} images, prepared by {first.data.prepare}\n\n{markdown(group)}")
    text = "\n".join(tables)
    summary = out / f"table__probe__{digest(sorted(r.name for r in results))[:8]}.md"
    with disk_errors(summary):
        write_atomically(summary, text.encode("utf-8", "replace"))
    print(f"\n{fitted(text)}")
    print(f"written: {summary} and one folder per row in {out}")
    places = list(dict.fromkeys([*map(str, runs), str(out)]))
    named = "" if places == ["runs"] else f" --runs {' '.join(places)}"
    print(f"next: {interpreter()} -m reports correlations{named} sets them beside the figures of the reconstructions")


if __name__ == "__main__":
    main()
