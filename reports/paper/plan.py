"""The sizes and settings of the small run, all in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lactok.evaluation.config import Settings

SCALES = ("tiny", "full")
RUNS = {"tiny": "runs/paper", "full": "runs"}  # where results are kept, by scale
OUT = "paper"  # where the report goes


@dataclass(frozen=True)
class Plan:
    """What the small run measures; two idle cores take less than half an hour for it.

    Attributes:
        dataset: the photographs: `sample`, the 36 windows of photographs that scikit-image and scikit-learn ship, or
            a data set of the user's.
        scenes: captions of composed scenes, ten of each of GenEval's six tasks. One picture of each is composed, for
            reconstruction; generators make one picture of each.
        protocol: how pictures are prepared and scored.
        metrics: those of the paper's columns: P, S, L and rFID.
        pictures: of so many images the reconstructions are kept, for the figures.
        judge: GenEval's detector and colour classifier.
        seed: of the scenes and of the pictures that are generated.
        workers: processes.
        threads: of each process; other numbers may change the last bits.
        weights: a folder with the user's weights, if there is one.
    """

    dataset: str = "sample"
    scenes: int = 60
    protocol: str = "square-256"
    metrics: tuple[str, ...] = ("psnr", "ssim", "lpips_vgg", "rfid")
    pictures: int = 4
    judge: str = "scenes-tiny"
    seed: int = 0
    workers: int = 2
    threads: int = 1
    weights: str | None = None

    def settings(self, runs: Path, dataset: str | None = None) -> Settings:
        """Return the plan in the form that suites take.

        Args:
            runs: the folder of results.
            dataset: another data set than the photographs.
        """
        from lactok.evaluation.config import Settings

        return Settings(
            dataset=dataset or self.dataset,
            protocol=self.protocol,
            metrics=self.metrics,
            pictures=self.pictures,
            out=runs,
            seed=self.seed,
            workers=self.workers,
            threads=self.threads,
            weights=self.weights,
        )
