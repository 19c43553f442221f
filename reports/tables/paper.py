"""The published tables with measured numbers: which system a row is, and which command measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

from benchmarks import published
from benchmarks.ablation.studies import COND_SCALE_NOTE, OTHER_SCALE, STUDIES, names
from benchmarks.table3.systems import GENERATORS, System
from lactok import registry
from lactok.evaluation.results import PicturesResult, Result, Results
from lactok.metrics.registry import Metric, find
from lactok.metrics.rewards import titles
from reports.tables import sources
from reports.tables.beside import table
from reports.tables.cells import Cell, Column, Row, Table, column
from reports.tables.choice import (
    Choice,
    choose,
    generator_missing,
    geneval_obstacle,
    gfid_obstacle,
    preference_obstacle,
    recon_obstacle,
    tokenizer_missing,
)
from reports.tables.measured import SECONDS, measure, with_marks

# the columns of each kind of table
RECON = (
    column(find("rfid")),
    column(find("rfid_clean"), published="rfid"),
    column(find("psnr")),
    column(find("psnr_pooled"), published="psnr"),
    column(find("ssim")),
    column(find("ms_ssim"), published="ssim"),
    column(find("lpips_vgg"), published="lpips"),
    column(find("lpips_alex"), published="lpips"),
)
GENEVAL = tuple(
    column(Metric(key, title, higher=True), published=f"geneval_{printed}")
    for key, title, printed in (
        ("two_object", "Two Obj", "two_obj"),
        ("position", "Position", "position"),
        ("color_attr", "Color Attri", "color_attr"),
        ("overall", "Overall", "overall"),
    )
)
PREFERENCE = (
    column(titles.described("image_reward")),
    column(titles.described("mps")),
    column(titles.described("hpsv2"), printed=3, published="hpsv2"),
    column(titles.described("hpsv2-aa"), printed=3, published="hpsv2"),
    column(titles.described("hpsv2.1"), printed=3, published="hpsv2"),
    column(titles.described("hpsv2.1-aa"), printed=3, published="hpsv2"),
)
SECONDS_COLUMN = column(SECONDS, printed=1)
GFID = replace(find("fid"), title="gFID")

TABLE_1, TABLE_2 = "Table 1: reconstruction", "Table 2: reconstruction"
READING_NOTE = (
    "Every column of measured numbers is a reading of an unpublished protocol. The paper's P stands under the mean of "
    "each photograph's PSNR and under the PSNR of the pooled error, its S under SSIM and under MS-SSIM (SSIM is never "
    "nan, and the paper prints nan for SeedTok+), its L under LPIPS with both networks, its rFID under both ways of "
    "resizing to 299 px; which of them it computed is not said. docs/protocols.md says what speaks for which."
)
FLEXTOK_NOTE = (
    "The paper does not say which FlexTok it used: flextok-d18-d28, the largest trained on ImageNet, stands for it."
)
MJHQ_NOTE = (
    "The paper's MJHQ-5K is a random choice from MJHQ-30K that it does not list; here it is another one, 500 images a "
    "category."
)
SEED_NOTE = "SeedTok+ is SEED-2's tokenizer; its SSIM is printed as nan."
STAR_NOTE = (
    "* is trained on the authors' constructed data, + on CC3M, Unsplash, LAION-COCO and COCO, the others on ImageNet."
)
HPS_NOTE = (
    "The paper does not say which HPSv2 it used, nor whether images were antialiased when resized to 224 px: its "
    "numbers stand under all four. HPSv2 resizes by torchvision, which antialiases tensors since 0.17, not before. "
    "Nor does the paper say which of COCO's five captions it took; here it is the one of lowest annotation id."
)
GENERATORS_NOTE = (
    "The paper does not say which LlamaGen and Show-o it used: llamagen-t2i-512, the authors' second stage, and "
    "show-o-256, whose published GenEval is the one printed, stand for them."
)
LACTOKGEN_NOTE = (
    "LaCTokGen is run with cond_scale 0.8 of its tokenizer, as in the authors' demo; Tables 1, 2, 4 and 5 have 1 where "
    "a name does not say otherwise."
)
ADM_FILE = "VIRTUAL_imagenet256_labeled.npz"
ADM_NOTE = (
    f"Of 50,000 pictures, to the statistics in {ADM_FILE}, by torch-fidelity's copy of Inception; the published "
    "numbers are ADM's evaluator's, which takes the pictures in samples.npz (--npz)."
)
TIMES_NOTE = (
    "Seconds of wall time an image in one process, from prompt to pixels, on the device that the row names; the "
    "published ones are of the authors' machine. Machines differ, so no measured number is marked as best."
)
FLUX_NOTE = (
    "The paper's FLUX-5K is not public, nor are its prompts; here it is another sample of FLUX.1-dev, one picture for "
    "the first caption of each image of COCO 2017 val, as `python -m benchmarks.datasets make flux5k` makes it."
)


LABELS = ("SeedTok+", "TiTok-S-128", "LlamaGen", "FlexTok", "LaCTok-H", "LaCTok-H*", "LaCTok-T*")
TOKENIZERS = tuple(
    System(key, label, name) for (key, name), label in zip(published.TOKENIZERS.items(), LABELS, strict=True)
)
TITOK_SIZES = ("titok-l32", "TiTok-L-32"), ("titok-b64", "TiTok-B-64"), ("titok-s128", "TiTok-S-128")
TITOK_LARGER = ("titok-bl64", "TiTok-BL-64"), ("titok-bl128", "TiTok-BL-128"), ("titok-sl256", "TiTok-SL-256")


@lru_cache(maxsize=1)  # the table files and the page need the same tables
def build(results: Results) -> tuple[Table, ...]:
    """Return Tables 1 to 6 of arXiv 2503.08377, its seconds an image, and those of TiTok's README.

    A published table with several data sets becomes a table for each.
    """
    notes = (READING_NOTE, FLEXTOK_NOTE, SEED_NOTE, STAR_NOTE, COND_SCALE_NOTE)
    recon = partial(_recon, results, systems=TOKENIZERS, columns=RECON, protocol="paper-1024")
    return (
        recon("table1-imagenet", f"{TABLE_1}, ImageNet", "recon_imagenet", dataset="imagenet", notes=notes),
        recon(
            "table1-coco",
            f"{TABLE_1}, MSCOCO-2017",
            "recon_coco",
            dataset="coco",
            notes=notes,
            second="recon_coco_cvpr2026",
        ),
        recon("table2-mjhq", f"{TABLE_2}, MJHQ-5K", "recon_mjhq", dataset="mjhq", notes=(*notes, MJHQ_NOTE)),
        recon("table2-flux5k", f"{TABLE_2}, FLUX-5K", "recon_flux5k", dataset="flux5k", notes=(*notes, FLUX_NOTE)),
        _geneval(results),
        _preference(results),
        _ablation(results, "components", "table4", "Table 4: components of LaCTok, MJHQ-5K"),
        _ablation(results, "tokens", "table5", "Table 5: number of tokens of LaCTok-H, MJHQ-5K"),
        _guidance(results),
        _seconds(results),
        _recon(
            results,
            "titok-reconstruction",
            "TiTok's README: reconstruction, ImageNet 256",
            "titok_reconstruction",
            systems=[System(key, label, key) for key, label in (*TITOK_SIZES, *TITOK_LARGER)],
            columns=RECON[:1],
            protocol="titok-256",
            dataset="imagenet",
            notes=("Under TiTok's own evaluation, pixels truncated, at 256 px.",),
        ),
        sources.build(results),
        _titok_generation(results),
    )


def build_measured(results: Results) -> tuple[Table, ...]:
    """Return those of the papers' tables in which something is measured."""
    return tuple(t for t in build(results) if any(c.measured is not None for row in t.rows for c in row.cells))


def _recon(
    results: Results,
    id: str,
    title: str,
    printed: str,
    *,
    systems: Sequence[System],
    columns: Sequence[Column],
    dataset: str,
    protocol: str,
    notes: Sequence[str] = (),
    second: str = "",
) -> Table:
    """Return a table of reconstruction."""
    choices = []
    systems = _with_other_scale(systems, [r for r in results.recon if r.dataset == dataset])
    for system in systems:
        command = f"python -m benchmarks.recon --tokenizers {system.name} --dataset {dataset} --protocol {protocol}"
        choices.append(
            choose(
                [r for r in results.recon if r.label == system.name],
                partial(recon_obstacle, dataset=dataset, wanted=protocol),
                partial(tokenizer_missing, system.name, command),
            )
        )
    remedy = "run again with --metrics default"
    return table(
        id,
        title,
        published.table(printed),
        systems,
        columns,
        choices,
        dataset=dataset,
        notes=notes,
        remedy=remedy,
        second=second,
    )


def _with_other_scale(systems: Sequence[System], runs: Sequence[Result]) -> list[System]:
    """Return the systems; a LaCTok that also ran with the other `cond_scale` is followed by that as one of its own.

    That one stands beside the same published numbers. It takes no part in the marks, which would have the method twice.
    """
    labels = {r.label for r in runs}
    found = []
    for system in systems:
        found.append(system)
        spec = registry.tokenizer_spec(system.name)
        other = spec.named(cond_scale=OTHER_SCALE) if "cond_scale" in spec.options else ""
        if other in labels:
            found.append(System(system.key, f"{system.label}, cond_scale {OTHER_SCALE}", other, marked=False))
    return found


def _runs_of(runs: Sequence[Result], system: System) -> list[Result]:
    """Return the runs of a system with any options, by its name in this project or its key in the published table."""
    return [r for r in runs if r.label.partition("@")[0].lower() in (system.name, system.key)]


def _geneval(results: Results) -> Table:
    """Return the GenEval scores of Table 3."""

    def choice(system: System) -> Choice:
        command = f"python -m benchmarks.geneval --generators {system.name} --device cuda"
        missing = partial(generator_missing, system.name, command, "python -m benchmarks.geneval --images DIR")
        obstacle: Callable = geneval_obstacle
        return choose(_runs_of(results.geneval, system), obstacle, missing)

    return table(
        "table3-geneval",
        "Table 3: generation, GenEval",
        published.table("generation"),
        GENERATORS,
        GENEVAL,
        [choice(s) for s in GENERATORS],
        dataset="geneval",
        notes=(GENERATORS_NOTE, LACTOKGEN_NOTE),
        second="generation_cvpr2026",
    )


def _preference_choice(results: Results, system: System, name: str) -> Choice:
    """Choose the run of a system's preference scores; `name` is the generator with the options that are wanted."""
    command = f"python -m benchmarks.preference --generators {name} --captions coco --device cuda"
    pictures = "python -m benchmarks.preference --images DIR --captions coco"
    missing = partial(generator_missing, name.partition("@")[0], command, pictures)
    obstacle: Callable = partial(preference_obstacle, name=name)
    runs = _runs_of(results.preference, system)
    return choose([r for r in runs if "@" not in name or r.label == name], obstacle, missing)


def _preference(results: Results) -> Table:
    """Return the preference scores of Table 3."""
    return table(
        "table3-coco",
        "Table 3: generation, preference scores on MSCOCO-2017",
        published.table("generation"),
        GENERATORS,
        PREFERENCE,
        [_preference_choice(results, s, s.name) for s in GENERATORS],
        dataset="coco",
        notes=(HPS_NOTE, GENERATORS_NOTE, LACTOKGEN_NOTE),
        remedy="run again with --metrics default",
        second="generation_cvpr2026",
    )


def _guidance(results: Results) -> Table:
    """Return Table 6: preference scores by the scale of the classifier-free guidance."""
    printed = published.table("ablation_cfg_coco5k")
    wanted = {key: registry.generator_spec(f"lactokgen-t-star@guidance={key}").name for key in printed.rows}
    systems = [System(key, f"LaCTokGen-T*, scale {key}", name) for key, name in wanted.items()]
    star = GENERATORS[-1]
    return table(
        "table6",
        "Table 6: scale of the classifier-free guidance, MSCOCO-2017",
        printed,
        systems,
        PREFERENCE,
        [_preference_choice(results, star, s.name) for s in systems],
        dataset="coco",
        notes=(HPS_NOTE,),
        remedy="run again with --metrics default",
    )


def _ablation(results: Results, study: str, id: str, title: str) -> Table:
    """Return the table of an ablation study of LaCTok."""
    described = STUDIES[study]
    systems = []
    for row, name in zip(described.rows_of("full"), names(described, "full"), strict=True):
        systems.append(System(row.published or "", row.label, name))
    notes = (READING_NOTE, MJHQ_NOTE, COND_SCALE_NOTE)
    return _recon(
        results,
        id,
        title,
        described.table,
        systems=systems,
        columns=RECON,
        dataset="mjhq",
        protocol="paper-1024",
        notes=notes,
    )


def _seconds(results: Results) -> Table:
    """Return the seconds an image of generation, of each generator those of the run that timed most pictures."""
    printed = published.table("generation_seconds")
    systems = [s for s in GENERATORS if s.key in printed.rows]
    rows, runs = [], []
    for system in systems:
        timed = [r for r in results.of(PicturesResult) if r.label == system.name and r.seconds_per_image is not None]
        run = max(timed, key=lambda r: r.timed_images, default=None)
        command = f"python -m benchmarks.table3 --generators {system.name} --device cuda"
        reason = "" if run else generator_missing(system.name, command, "pictures of others have no times")
        measured, why = measure(run, SECONDS_COLUMN) if run else (None, reason)
        cell = Cell(printed.rows[system.key]["seconds"], measured, why)
        where = f"{run.timed_on}, {run.dtype}" if run else ""
        rows.append(Row(system.label, system.name, (cell,), run.name if run else "", where))
        runs.append(run)
    table = Table(
        "seconds",
        "Seconds an image of generation",
        (SECONDS_COLUMN,),
        tuple(rows),
        printed.source,
        notes=(TIMES_NOTE,),
    )
    return with_marks(table, runs)


def _titok_generation(results: Results) -> Table:
    """Return the gFID of TiTok's generators."""
    systems = [System(key, label, f"{key}-gen") for key, label in TITOK_SIZES]
    choices = []
    obstacle: Callable = gfid_obstacle
    for system in systems:
        command = f"python -m benchmarks.gfid --generators {system.name} --reference {ADM_FILE} --device cuda"
        pictures = f"python -m benchmarks.gfid --images DIR --reference {ADM_FILE}"
        missing = partial(generator_missing, system.name, command, pictures)
        choices.append(choose(_runs_of(results.gfid, system), obstacle, missing))
    return table(
        "titok-generation",
        "TiTok's README: generation, ImageNet 256",
        published.table("titok_generation"),
        systems,
        [column(GFID, published="gfid")],
        choices,
        dataset="imagenet",
        notes=(ADM_NOTE,),
    )
