"""The paper's own size: which stored results stand for its numbers, and the commands that measure the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import published
from benchmarks.ablation.studies import STUDIES, names
from benchmarks.table3.systems import GENERATORS
from lactok import registry, weights
from lactok.errors import UserError, one_line
from lactok.evaluation import datasets
from lactok.evaluation.results import Results
from lactok.specs import Asset
from reports.paper import systems
from reports.paper.systems import Found
from reports.tables.choice import (
    choose,
    generator_missing,
    geneval_obstacle,
    preference_obstacle,
    recon_obstacle,
    tokenizer_missing,
)

SCALE, PROTOCOL = "full", "paper-1024"
ENGINES = {"local": "--part auto", "ray": "--engine ray --ray-address auto"}


@dataclass(frozen=True)
class Job:
    """A command of the cluster run.

    Attributes:
        what: which tables it is for.
        command: the command.
        data: whether its data are on this machine, or how to get them.
        weights: a line for each model: its name, and whether its weights are on this machine.
    """

    what: str
    command: str
    data: str
    weights: tuple[str, ...]


def tokenizers_by_dataset() -> dict[str, list[str]]:
    """Return the tokenizers of Tables 1, 2, 4 and 5 and of the study of steps, by data set."""
    usual = list(published.TOKENIZERS.values())
    known = systems.tokenizers(SCALE)
    of = {key: names(study, SCALE) for key, study in STUDIES.items()}
    steps = [known[systems.steps_key(n)] for n in systems.STEPS]
    ablated = [*of["components"], *of["tokens"]]
    return {
        "imagenet": list(dict.fromkeys([*usual, *steps])),
        "coco": usual,
        "mjhq": list(dict.fromkeys([*usual, *ablated])),
        "flux5k": usual,
    }


def found(results: Results) -> Found:
    """Return those of the stored results that stand for a number of the paper, and why the others are missing."""
    known = Found(SCALE, systems.tokenizers(SCALE), systems.generators(SCALE))
    for dataset, asked in tokenizers_by_dataset().items():
        known.places[dataset] = f"{dataset}, {PROTOCOL}"
        for name in asked:
            command = f"python -m benchmarks.recon --tokenizers {name} --dataset {dataset} --protocol {PROTOCOL}"
            runs = [r for r in results.recon if r.label == name]
            obstacle = partial(recon_obstacle, dataset=dataset, wanted=PROTOCOL)
            _add(known, dataset, name, runs, obstacle, partial(tokenizer_missing, name, command))
    known.places |= {"geneval": "GenEval's 553 prompts", "preference": "5,000 captions of COCO 2017 val"}
    for name in dict.fromkeys(systems.generators(SCALE).values()):
        missing = {
            suite: partial(
                generator_missing, name.partition("@")[0], f"python -m benchmarks.{suite} --generators {name}", images
            )
            for suite, images in (("geneval", "--images DIR"), ("preference", "--images DIR --captions coco"))
        }
        judged = [r for r in results.geneval if r.label == name]
        _add(known, "geneval", name, judged, geneval_obstacle, missing["geneval"])
        scored = [r for r in results.preference if r.label == name]
        _add(known, "preference", name, scored, partial(preference_obstacle, name=name), missing["preference"])
    return known


def _add(
    known: Found,
    place: str,
    name: str,
    runs: Sequence[Any],
    obstacle: Callable[[Any], str],
    missing: Callable[[], str],
) -> None:
    """Choose a model's run and add it to `known`, or the reason why none fits."""
    choice = choose(runs, obstacle, missing)
    if choice.run is not None:
        known.results[place, name] = choice.run
    else:
        known.reasons[place, name] = choice.reason


def jobs(runs: str, engine: str) -> list[Job]:
    """Return the commands of the cluster run.

    Args:
        runs: the folder of results that all machines share.
        engine: "local", parts as SLURM or torchrun number them, or "ray".
    """
    how = f"--device cuda {ENGINES[engine]} --out {runs}"
    tables = {"imagenet": "Table 1", "coco": "Table 1", "mjhq": "Tables 2, 4 and 5", "flux5k": "Table 2"}
    found = []
    for dataset, asked in tokenizers_by_dataset().items():
        command = f'python -m benchmarks.recon --tokenizers "{" ".join(asked)}" --dataset {dataset}'
        state = tuple(f"{name}: {tokenizer_state(name)}" for name in asked)
        found.append(Job(tables[dataset], f"{command} --protocol {PROTOCOL} {how}", data_state(dataset), state))
    state = tuple(f"{s.name}: {generator_state(s.name)}" for s in GENERATORS)
    command = f"python -m benchmarks.table3 --captions coco --dtype bfloat16 {how}"
    captions = data_state("coco")
    found.append(Job("Table 3, and the seconds an image", command, captions, state))
    star = GENERATORS[-1].name
    command = f"python -m benchmarks.ablation cfg --generator {star} --captions coco --dtype bfloat16 {how}"
    found.append(Job("Table 6", command, captions, (f"{star}: {generator_state(star)}",)))
    return found


def data_state(dataset: str) -> str:
    """Return whether a published data set is on this machine, or what its check says."""
    try:
        datasets.check_name(dataset)
    except UserError as error:
        return f"{dataset}: {one_line(str(error), 400)}"
    return f"{dataset}: here"


def tokenizer_state(name: str) -> str:
    """Return whether a tokenizer's weights are on this machine, in words."""
    return weights.state(registry.tokenizer_spec(name).assets)


def generator_state(name: str) -> str:
    """Return whether the weights of a generator and its tokenizer are on this machine, in words."""
    spec = registry.generator_spec(name)
    assets: list[Asset] = [*spec.assets]
    if spec.tokenizer is not None:
        assets += registry.tokenizer_spec(spec.tokenizer).assets
    return weights.state(assets) if assets else "of the hub, which diffusers asks by itself"


def markdown(planned: Sequence[Job]) -> str:
    """Return the plan of the cluster run."""
    parts = [
        "# The cluster run\n\nEach command is started on every machine, on a folder of results that all share, and can "
        "be killed and started again. `--dry-run` says what it takes; docs/table3.md has the sizes of Tables "
        "3 and 6. Afterwards `python -m reports paper --scale full` makes tables, figures and verdicts.\n"
    ]
    for job in planned:
        needs = "".join(f"  - {line}\n" for line in job.weights)
        parts.append(f"## {job.what}\n\n```sh\n{job.command}\n```\n\n- data: {job.data}\n- weights:\n{needs}")
    return "\n".join(parts)
