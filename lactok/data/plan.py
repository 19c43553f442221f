"""What a construction would take, said before anything is made or fetched."""

from __future__ import annotations

from lactok.data import shards
from lactok.data.construction import REAL, Construction
from lactok.data.filtering import PICTURES
from lactok.data.run import missing_shards, times
from lactok.data.steps import stage_of, steps
from lactok.weights import size_text

# bytes a pixel of generated pictures, roughly; used until there are pictures to measure
BYTES_A_PIXEL = {"png": 1.6, "jpg": 0.5, "webp": 1.2}
MEASURED = 8  # shards whose files are measured at most


def plan(construction: Construction, seconds: float | None, workers: int) -> list[str]:
    """Return what would run, as lines.

    Args:
        construction: what is to be made; it has been checked.
        seconds: a pair through all stages, as the user says; None to take what earlier calls measured.
        workers: how many processes share the work.
    """
    todo = missing_shards(construction)
    pairs = {}
    for shard in todo:
        there = (shards.counts_of(construction.out, shard) or {}).get("pairs", 0)
        pairs[shard] = len(construction.numbers(shard)) - there
    made = sum(count for shard, count in pairs.items() if not shard.startswith(REAL))
    lines = [f"prompts: {construction.prompts}, {construction.total:,} of them"] if construction.prompts else []
    if construction.real_pairs is not None:
        lines.append(f"real photographs: {len(construction.real_pairs):,}")
    for step in steps(construction):
        if (stage := stage_of(construction, step)) is not None:
            name = next((str(rule) for rule in construction.rules if rule.filter is stage), stage.spec.name)
            state = stage.state()
            lines.append(f"{stage.kind}: {name}" + (f"; weights: {state}" if state else ""))
    lines.append(
        f"shards: {len(construction.shards()):,} of up to {construction.shard} pairs, {len(todo):,} of them missing"
    )
    lines.append(f"pairs to make: {sum(pairs.values()):,}, {made:,} of them by the generator")
    lines.append(_hours(construction, sum(pairs.values()), seconds, workers))
    return [*lines, _disk(construction, made)] if construction.prompts else lines


def _hours(construction: Construction, pairs: int, seconds: float | None, workers: int) -> str:
    """Return the line that says how long it takes, where that is known."""
    source = "as you say"
    if seconds is None:
        known = times(construction.out)
        each = {
            step: found["seconds"] / found["pairs"]
            for step, found in known.items()
            if found.get("pairs") and found.get("seconds")
        }
        if PICTURES not in each:
            return (
                "hours: not known until pairs were made here; make some by `count`, or name `seconds_per_pair`, and "
                "ask again"
            )
        seconds, source = sum(each.values()), f"as measured on {known[PICTURES]['pairs']:,.0f} pairs here"
    hours = pairs * seconds / 3600 / workers
    return f"hours: {hours:,.2f} ({seconds:.3g} s a pair {source}; {workers} at a time)"


def _disk(construction: Construction, made: int) -> str:
    """Return the line that says how much disk the generated pictures take; real ones take what they take now."""
    files = [
        path
        for folder in (shards.PAIRS, shards.REJECTED)
        for path in sorted((construction.out / folder).glob("[0-9]*.tar"))[:MEASURED]
    ]
    names = {path.stem for path in files}
    pairs = sum((shards.counts_of(construction.out, name) or {}).get("pairs", 0) for name in names)
    if pairs:
        each, source = sum(path.stat().st_size for path in files) / pairs, "measured here"
    elif side := construction.picture_source.spec.side:
        each, source = side**2 * BYTES_A_PIXEL[construction.format], f"roughly, of {side} px as {construction.format}"
    else:
        return "disk: not known, since the generator does not say how large its pictures are"
    return (
        f"disk: {size_text(made * each)} for generated pictures, kept and rejected ({size_text(each)} each, {source})"
    )
