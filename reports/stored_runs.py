"""Find the stored runs that a user names: by folder, or by tokenizer where that leaves no choice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lactok.errors import MissingFile, UserError, first_few, unknown
from lactok.files import is_file, is_folder
from lactok.outside_text import shown

if TYPE_CHECKING:
    from lactok.evaluation.results import Result

R = TypeVar("R", bound="Result")


def find(names: Sequence[str], runs: str, argument: str = "RUN", dataset: str | None = None) -> list[Result]:
    """Return stored results, one for each name and in their order.

    A tokenizer or generator may have several runs. Of these the one is taken that shares its data and its protocol with
    a run of each other name, if there is one such choice alone.

    Args:
        names: of each result its folder, its folder's name in `runs`, or the tokenizer or generator.
        runs: the folder of results.
        argument: the argument that takes the names, for messages.
        dataset: the data set of the runs that tokenizers' names mean, None for any.

    Raises:
        UserError: there is no such result, it is damaged, or there are several and nothing says which is meant.
    """
    candidates = [_candidates(name, runs, argument, dataset) for name in names]
    if all(len(found) == 1 for found in candidates):
        return [found[0] for found in candidates]
    shared = []
    for group in dict.fromkeys(_group(run) for found in candidates for run in found):
        members = [[run for run in found if _group(run) == group] for found in candidates]
        if all(members):
            shared.append(members)
    if len(shared) == 1 and all(len(found) == 1 for found in shared[0]):
        return [found[0] for found in shared[0]]
    place = next(i for i, found in enumerate(candidates) if len(found) > 1)
    there = first_few([run.name for run in candidates[place]], 5)
    why = "has several runs"
    if len(names) > 1:
        others = first_few([name for i, name in enumerate(names) if i != place], 3)
        shares = "none shares its data and protocol" if not shared else "more than one shares its data and protocol"
        why += f", of which {shares} with {others}"
    raise UserError(f"{argument} {shown(names[place], 200)} {why}; name a `dataset`, or the folder of one: {there}")


def _group(run: Result) -> tuple[str, ...]:
    """Return what two runs must have in common to be compared: the suite, the data and, of reconstructions, how."""
    from lactok.evaluation.results import ReconResult
    from reports.tables.groups import alike

    if isinstance(run, ReconResult):
        return run.suite, alike(run)
    return run.suite, run.dataset


def _candidates(name: str, runs: str, argument: str, dataset: str | None) -> list[Result]:
    """Return the results that a name may mean: of a folder that one, else all of the tokenizer or generator."""
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import GenerationResult, ProbeResult, load, load_results

    for folder in (Path(name), Path(runs) / name):
        if is_file(folder / "result.json"):
            try:
                return [load(folder.resolve())]
            except Damaged as error:
                raise UserError(f"{folder}: {error}; run the command that made it again") from error
    if is_folder(Path(name)):
        raise UserError(f"{name} is no result folder: there is no result.json")
    if "/" in name or not is_folder(Path(runs)):
        raise MissingFile(
            f"{argument} {shown(name, 200)}: no folder of a result, neither here nor in the folder of results "
            f"{shown(runs, 200)}; name the folder that holds the run's result.json"
        )
    found = of_dataset(load_results(runs).without(GenerationResult, ProbeResult), dataset)
    labelled: list[Result] = [r for r in found if r.label == name]
    if not labelled:
        raise unknown("run", name, dict.fromkeys([*(r.label for r in found), *(r.name for r in found)]))
    return labelled


def of_dataset(results: Sequence[R], dataset: str | None) -> list[R]:
    """Return the results of one data set, or all for None; raise UnknownName for one that there is no result of."""
    if dataset is None:
        return list(results)
    kept = [r for r in results if r.dataset == dataset]
    if not kept:
        raise unknown("dataset", dataset, dict.fromkeys(r.dataset for r in results))
    return kept
