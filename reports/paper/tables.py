"""The paper's six tables with the small models: published numbers beside those that were measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import published
from benchmarks.ablation.studies import STUDIES, names
from benchmarks.table3.systems import GENERATORS, System
from reports.paper.systems import PHOTOGRAPHS, SCENES, Found, guidance_key
from reports.tables.beside import table
from reports.tables.cells import Column, Table
from reports.tables.choice import Choice
from reports.tables.paper import GENEVAL, PREFERENCE, RECON, SECONDS_COLUMN, TOKENIZERS

SMALL_NOTE = (
    "The measured numbers are of small models, trained here, on few pictures of 256 px: they reproduce no published "
    "number, and the difference of the two is not shown. What can be compared are rows among themselves."
)
STARS_NOTE = (
    "One small model stands for LaCTok-H and LaCTok-H*, which differ in their training data; * and + name that of the "
    "published models."
)
JUDGE_NOTE = (
    "Small generators draw captions of composed scenes, judged by scenes-tiny; the published columns are of GenEval's "
    "553 prompts by its own judges. Rewards are measured at full scale alone: they were taught by photographs."
)
SECONDS_NOTE = "Seconds of wall time an image in one process, as they are stored with the pictures."
NO_MODEL = "no small model stands for it"
TRUE_SCENES = "composed scenes"  # pictures in which every caption is true: what the judge finds at best
SMALL_RECON = tuple(c for c in RECON if c.key in ("rfid", "psnr", "ssim", "lpips_vgg"))
REWARDS = tuple(c for c in PREFERENCE if c.key in ("image_reward", "mps", "hpsv2"))


def build(found: Found) -> list[Table]:
    """Return Tables 1 to 6, then the study of steps and the seconds an image, with the small models' numbers."""
    reconstructed = [replace(s, name=found.name(PHOTOGRAPHS, s.key), marked=s.key != "lactok-h*") for s in TOKENIZERS]
    notes = (SMALL_NOTE, STARS_NOTE)
    return [
        _table(
            found,
            "table1",
            "Table 1: reconstruction (published: ImageNet / MSCOCO-2017)",
            "recon_imagenet",
            reconstructed,
            SMALL_RECON,
            PHOTOGRAPHS,
            notes,
            second="recon_coco",
        ),
        _table(
            found,
            "table2",
            "Table 2: reconstruction (published: MJHQ-5K / FLUX-5K)",
            "recon_mjhq",
            reconstructed,
            SMALL_RECON,
            SCENES,
            notes,
            second="recon_flux5k",
        ),
        _generation(found),
        _study(found, "components", "table4", "Table 4: components of LaCTok (published: MJHQ-5K)", PHOTOGRAPHS),
        _study(found, "tokens", "table5", "Table 5: number of tokens of LaCTok-H (published: MJHQ-5K)", PHOTOGRAPHS),
        _guidance(found),
        _study(found, "steps", "steps", "Steps and output sizes, from the same ids", PHOTOGRAPHS),
        _seconds(found),
    ]


def _table(
    found: Found,
    id: str,
    title: str,
    printed: str,
    systems: Sequence[System],
    columns: Sequence[Column],
    place: str,
    notes: Sequence[str],
    second: str = "",
) -> Table:
    """Return a table of the models that stand for systems of a published table; `printed` is "" where there is none."""
    theirs = published.table(printed) if printed else published.Table("", (), {})
    choices = []
    for system in systems:
        result, reason = found.at(place, system.name) if system.name else (None, NO_MODEL)
        choices.append(Choice(result, reason))
    data = f"Measured on {found.places[place]}."
    return table(
        id,
        title,
        theirs,
        systems,
        columns,
        choices,
        dataset=found.places[place],
        notes=(data, *notes),
        remedy="not a metric of small pictures",
        second=second,
        comparable=False,
    )


def _study(found: Found, name: str, id: str, title: str, place: str) -> Table:
    """Return the table of an ablation study."""
    study = STUDIES[name]
    systems = [
        System(row.published or "", row.label, tokenizer)
        for row, tokenizer in zip(study.rows_of(found.scale), names(study, found.scale), strict=True)
    ]
    return _table(found, id, title, study.table, systems, SMALL_RECON, place, (SMALL_NOTE,))


def _generation(found: Found) -> Table:
    """Return Table 3, with a last row of composed scenes, whose captions are true."""
    systems = [replace(s, name=found.name("geneval", s.key)) for s in GENERATORS]
    systems.append(System("", TRUE_SCENES, TRUE_SCENES, marked=False))
    columns = (*GENEVAL, *REWARDS)
    return _table(
        found, "table3", "Table 3: generation", "generation", systems, columns, "geneval", (SMALL_NOTE, JUDGE_NOTE)
    )


def _guidance(found: Found) -> Table:
    """Return Table 6."""
    printed = "ablation_cfg_coco5k"
    scales = published.table(printed).rows
    systems = [System(key, f"LaCTokGen-T*, scale {key}", found.generators[guidance_key(key)]) for key in scales]
    title = "Table 6: scale of the classifier-free guidance (published: MSCOCO-2017)"
    columns = (*REWARDS, *GENEVAL)
    return _table(found, "table6", title, printed, systems, columns, "geneval", (SMALL_NOTE, JUDGE_NOTE))


def _seconds(found: Found) -> Table:
    """Return the seconds an image of generation."""
    printed = "generation_seconds"
    rows = published.table(printed).rows
    systems = [replace(s, name=found.name("geneval", s.key)) for s in GENERATORS if s.key in rows]
    title = "Seconds an image of generation"
    return _table(found, "seconds", title, printed, systems, (SECONDS_COLUMN,), "geneval", (SMALL_NOTE, SECONDS_NOTE))
