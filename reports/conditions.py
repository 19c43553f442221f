"""The conditions of a run that are worth a word beside its name."""

from __future__ import annotations

from lactok.evaluation.results import ReconResult, Result


def unusual_conditions(run: Result) -> list[str]:
    """Return a run's dtype where it is not float32 and its seed where it is not 0, such as ["bfloat16", "seed 1"]."""
    conditions = []
    if run.dtype != "float32":
        conditions.append(run.dtype)
    if run.seed != 0:
        conditions.append(f"seed {run.seed}")
    return conditions


def is_lossless(run: ReconResult) -> bool:
    """Return whether every image came back exactly, so that its PSNR is capped."""
    psnr = run.metrics.get("psnr")
    return psnr is not None and psnr.capped == psnr.n
