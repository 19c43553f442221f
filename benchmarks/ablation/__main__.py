"""`python -m benchmarks.ablation components|tokens|steps|cfg`: what changes LaCTok's quality, and its generator's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.ablation.studies import COND_SCALE_NOTE, STUDIES, SUFFIX, names
from lactok.command import Parser, command, given
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Settings
from lactok.evaluation.options import add_options

CFG = "cfg"  # the study of a generator's guidance; the others are of tokenizers
# arguments that belong to one kind of study alone
OF_GENERATORS = ("generator", "guidance", "captions", "dry_run", "seconds_per_image")
OF_TOKENIZERS = ("scale", "dataset", "protocol", "resolution", "pictures")


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.ablation",
        description="Ablations of LaCTok: "
        + "; ".join(f"{name}: {study.title}" for name, study in STUDIES.items())
        + f"; {CFG}: Table 6: a generator's pictures of captions by the scale of its guidance",
        epilog=f"{', '.join(OF_GENERATORS).replace('_', '-')} are of {CFG} alone; {', '.join(OF_TOKENIZERS)} of the "
        "others alone.",
    )
    p.add_argument("study", choices=[*STUDIES, CFG])
    p.add_argument(
        "--scale",
        choices=list(SUFFIX),
        default="tiny",
        help="tiny: the small models of the recipes here; full: the paper's size (%(default)s)",
    )
    p.add_argument("--generator", metavar="NAME", help="a generator with the option guidance (lactokgen-t-star)")
    p.add_argument("--guidance", metavar="SCALES", help="scales separated by commas (1.5,2,3,7)")
    p.add_argument("--captions", metavar="FILE", help="as of benchmarks.preference (coco)")
    p.add_argument("--dry-run", action="store_true", help="say how many pictures, hours and bytes it would take")
    p.add_argument(
        "--seconds-per-image", action="append", default=[], metavar="S|NAME=S", help="for the hours of --dry-run"
    )
    add_options(p)
    p.add_argument("--strict", action="store_true", help="exit with 3 if any variant lacks its weights")
    return p


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a variant failed, or if weights are missing and none could run."""
    own = parser()
    args = own.parse_args(argv)
    for argument in OF_TOKENIZERS if args.study == CFG else OF_GENERATORS:
        if argument in given(own, argv):
            raise WrongValue(f"`{argument}` does not go with {args.study}; leave it out")
    settings = Settings.of(vars(args) | ({"metrics": "default"} if args.study == CFG else {}))
    settings.check()
    if args.study == CFG:
        from benchmarks.ablation import guidance
        from benchmarks.generation.estimate import seconds_of

        dry = seconds_of(args.seconds_per_image)
        return guidance.run_study(
            settings,
            args.generator or guidance.GENERATOR,
            guidance.scales_of(args.guidance if args.guidance is not None else ",".join(guidance.SCALES)),
            args.captions or "coco",
            args.metrics,
            args.strict,
            dry if args.dry_run else None,
        )
    study = STUDIES[args.study]
    if settings.part:
        raise WrongValue("`part`: an ablation prints finished rows only; measure the parts with benchmarks.recon first")
    tokenizers = names(study, args.scale)
    settings.check_names()
    settings.use_machine()
    from benchmarks.ablation.table import table
    from benchmarks.speed.timing import decode_seconds
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources, report_unfinished
    from lactok.evaluation.metric_networks import with_networks
    from lactok.evaluation.terminal import fitted
    from lactok.evaluation.writing import folder_name
    from lactok.files import write_atomically

    run, dataset = with_networks(settings.run(), settings.metrics), settings.data()
    sources, missing, failed = resolve_sources(tokenizers, protocol=run.protocol)
    outcome = evaluate_sources(sources, dataset, run, settings.execution())
    found = {result.label: result for result in outcome.results}
    seconds = None
    if study.timed:
        seconds = {name: decode_seconds(name, run.device, run.dtype) for name in found}
    text = table(study, study.rows_of(args.scale), found, tokenizers, seconds)
    print(
        f"\n{study.title}; {args.scale} models; {dataset.name}: {len(dataset.samples)} images, protocol "
        f"{run.protocol.name} at {run.protocol.prepare.size_text}\n\n{fitted(text)}"
    )
    if study.table:  # published numbers stand beside the measured ones
        print(
            "The paper's columns: MJHQ-5K at 1024 px with the full models, a reading of an unpublished protocol: its P "
            "stands beside psnr and psnr_pooled, its S beside ssim and ms_ssim, its L beside LPIPS with both networks."
        )
    print(COND_SCALE_NOTE)
    hashes = f"{run.protocol.prepare_hash}-{run.protocol.score_hash}"
    what = f"ablation-{args.study}-{args.scale}"
    name = folder_name(what, dataset.name, hashes, limit=settings.limit, dtype=run.dtype, seed=run.seed)
    path = Path(settings.out) / f"{name}.md"
    with disk_errors(path):
        write_atomically(path, text.encode())
    print(f"written: {path}")
    strict = args.strict or not found  # a table without any measured row is a failure, whatever --strict says
    return report_unfinished(missing, failed | outcome.failed, strict)


if __name__ == "__main__":
    main()
