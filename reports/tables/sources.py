"""The published rFIDs on ImageNet, tokenizer by tokenizer: two sources of one number stand in neighbouring rows."""

from __future__ import annotations

from functools import partial

from benchmarks import published
from benchmarks.published import Claim
from lactok import fitting, registry
from lactok.evaluation import protocol
from lactok.evaluation.results import Result, Results
from lactok.metrics.registry import find
from reports.tables.cells import Cell, Row, Table, column
from reports.tables.choice import Choice, choose, describe, recon_obstacle, tokenizer_missing
from reports.tables.measured import measure

DATASET = "imagenet"
RFID = column(find("rfid"))
NOTE = (
    "One tokenizer has several published rFIDs, each of another protocol; a measured number stands beside it where "
    "this project has that protocol. `python -m benchmarks.replay NAME` measures one tokenizer under all of them."
)


def build(results: Results) -> Table:
    """Return the table: a row for each published rFID, those of one tokenizer together."""
    claims = [c for c in published.claims() if c.metric == "rfid" and c.dataset == DATASET]
    order = {name: i for i, name in enumerate(dict.fromkeys(c.tokenizer for c in claims))}
    claims.sort(key=lambda c: order[c.tokenizer])
    notes = [NOTE]
    rows = []
    for claim in claims:
        choice = _choice(results, claim)
        measured, reason = measure(choice.run, RFID) if choice.run else (None, choice.reason)
        run: Result | None = choice.run
        cell = Cell(claim.value, measured, reason)
        folder, conditions = (run.name, describe(run)) if run else ("", "")
        label = f"{claim.tokenizer}: {claim.source}"
        rows.append(Row(label, claim.tokenizer, (cell,), folder, conditions, marked=False))
        if claim.note:
            told = f"{claim.tokenizer}: {claim.value:g} instead of {claim.instead_of:g}, {claim.source}: {claim.note}."
            notes.append(told)
        if choice.note:
            notes.append(choice.note)
    return Table(
        "published-rfid",
        "Published rFIDs by source, ImageNet",
        (RFID,),
        tuple(rows),
        "each row names its own",
        DATASET,
        notes=tuple(dict.fromkeys(notes)),
    )


def _choice(results: Results, claim: Claim) -> Choice:
    """Return the run that was measured as a published number was, or why there is none."""
    name = claim.tokenizer
    if claim.note:
        return Choice(reason="a user's measurement, whose protocol is not known here")
    if name.partition("@")[0] not in registry.list_tokenizers():
        return Choice(reason="not run: no tokenizer of this name here")
    if not claim.protocol:
        return Choice(reason="not run: no protocol here repeats its evaluation")
    refused = fitting.refusal(registry.tokenizer_spec(name), protocol.get(claim.protocol).prepare)
    if refused:
        return Choice(reason=f"not run: {refused.partition(';')[0]}")
    command = f"python -m benchmarks.recon --tokenizers {name} --dataset {claim.dataset} --protocol {claim.protocol}"
    return choose(
        [r for r in results.recon if r.label == name],
        partial(recon_obstacle, dataset=claim.dataset, wanted=claim.protocol),
        partial(tokenizer_missing, name, command),
    )
