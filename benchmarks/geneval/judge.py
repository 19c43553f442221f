"""Judge a shard of pictures: detect objects, score them, draw verdicts.

Detections, verdicts and drawn pictures are each kept in the store, under a hash of all that they depend on, and are not
computed twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from PIL import Image

from benchmarks.geneval import annotate, scorer, stored
from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.folder import open_picture
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.progress import worked
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.store import Arrays, Store
from lactok.evaluation.timing import Timer
from lactok.images import UnreadableImage, png

Annotate = Literal["none", "wrong", "all"]

# {"correct", "reason", "boxes", "colours", "remark"} of a picture that was judged, {"error"} of one that cannot be read
Record = dict[str, Any]


@dataclass(frozen=True)
class Judges:
    """A detector and a colour classifier, as classes, so that worker processes can be told which to load.

    Attributes:
        detector: class of the detector.
        colours: class of the colour classifier.
        assets: name, source and sha256 of each file of their weights.
    """

    detector: type[Detector]
    colours: type[ColourClassifier]
    assets: tuple[tuple[str, str, str], ...]

    @property
    def options(self) -> scorer.Options:
        """Return the scorer's options, with the detector's own thresholds."""
        return scorer.Options(self.detector.spec.threshold, self.detector.spec.counting_threshold)

    @property
    def lowest_threshold(self) -> float:
        """Return the score that a detection must exceed to be stored: the lower one of the two thresholds."""
        return min(self.options.threshold, self.options.counting_threshold)

    def identity(self, spec: JudgeSpec) -> list[Any]:
        """Return one judge's name, version and weights, which become part of the store's keys."""
        digests = {name: sha256 for name, _, sha256 in self.assets}
        return [spec.name, spec.version, [[a.name, digests[a.name]] for a in spec.assets]]


@dataclass(frozen=True, eq=False)
class JudgingWork(ShardWork):
    """Store the verdicts on the pictures of a shard; a picture's `metadata` is its prompt as JSON.

    Attributes:
        judges: the detector and the colour classifier.
        run: device and batch size.
        store: where detections, verdicts and drawn pictures are kept.
        annotated: which pictures are drawn with their verdicts.
        _loaded: the loaded judges, by "detector" and "colours"; empty until the first call.
    """

    judges: Judges
    run: Run
    store: Store
    annotated: Annotate = "none"
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": {}}  # each worker process loads its own judges

    def detector(self) -> Detector:
        """Return the detector, loaded at the first call."""
        if "detector" not in self._loaded:
            self._loaded["detector"] = self.judges.detector(self.run.device)
        return self._loaded["detector"]

    def colours(self) -> ColourClassifier:
        """Return the colour classifier, loaded at the first call."""
        if "colours" not in self._loaded:
            self._loaded["colours"] = self.judges.colours(self.run.device)
        return self._loaded["colours"]

    def detections_key(self, samples: Sequence[Sample]) -> str:
        """Return the key of these pictures' detections.

        It changes with the pictures' bytes, the detector and its weights, the image library and the kind of device.
        """
        machine = [self.run.place(bool(self.judges.assets), batched=False), version("pillow")]
        detector = self.judges.identity(self.judges.detector.spec)
        threshold = self.judges.lowest_threshold
        return digest(["geneval detections", detector, threshold, machine, [s.sha256 for s in samples]])

    def verdicts_key(self, samples: Sequence[Sample]) -> str:
        """Return the key of the verdicts on these pictures.

        It changes with the detections, the prompts, the colour classifier and its weights, and the scorer.
        """
        colours = self.judges.identity(self.judges.colours.spec)
        prompts = [s.metadata for s in samples]
        return digest(
            [
                "geneval verdicts",
                self.detections_key(samples),
                colours,
                prompts,
                scorer.VERSION,
                vars(self.judges.options),
            ]
        )

    def picture_key(self, verdicts_key: str, sample: Sample) -> str:
        """Return the key of the drawn verdict on one picture of a shard.

        Args:
            verdicts_key: the key of the verdicts on the shard.
            sample: the picture.
        """
        return digest(["geneval annotated", verdicts_key, sample.id, annotate.VERSION])

    def stored(self, samples: Sequence[Sample]) -> list[Record] | None:
        """Return a record per picture, or None if the shard is not judged yet."""
        key = self.verdicts_key(samples)
        arrays = self.store.get("geneval-verdicts", key, check=stored.check_verdicts(len(samples)))
        if arrays is None:
            return None
        return json.loads(str(arrays["records"]))

    def need(self, samples: Sequence[Sample]) -> list[Record]:
        """Return the records of a shard that was judged before; raise LostShard if the store has lost them."""
        key = self.verdicts_key(samples)
        arrays = self.store.need("geneval-verdicts", key, check=stored.check_verdicts(len(samples)))
        return json.loads(str(arrays["records"]))

    def should_draw(self, record: Record) -> bool:
        """Return whether the verdict in this record is to be drawn on its picture."""
        if "error" in record or self.annotated == "none":
            return False
        return self.annotated == "all" or not record["correct"]

    def _positions_to_draw(self, samples: Sequence[Sample], records: Sequence[Record]) -> list[int]:
        """Return the positions of the pictures whose verdicts are still to be drawn."""
        key = self.verdicts_key(samples)
        positions = []
        for i, (sample, record) in enumerate(zip(samples, records, strict=True)):
            if self.should_draw(record) and not self.store.has_picture(self.picture_key(key, sample)):
                positions.append(i)
        return positions

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        if not all(sample.path.is_file() for sample in samples):  # another part of the run still makes them
            return False
        records = self.stored(samples)
        return records is not None and not self._positions_to_draw(samples, records)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        records = self.stored(samples)
        if records is not None and not self._positions_to_draw(samples, records):
            return
        detections, errors, remarks = self._detections_of(samples, timer)
        if records is None:
            records = self._score_and_store(samples, detections, errors, remarks, timer)
        key = self.verdicts_key(samples)
        for i in self._positions_to_draw(samples, records):
            with timer.stage("annotate"):
                drawn = self._draw_verdict(samples[i], detections[i], records[i])
                self.store.put_picture(self.picture_key(key, samples[i]), png(drawn))

    def detections(self, samples: Sequence[Sample]) -> list[list[Detection]]:
        """Return the detections in each picture of a shard that was judged before; nothing where none can be read."""
        return self._detections_of(samples, Timer(self.run.device))[0]

    def _detections_of(
        self, samples: Sequence[Sample], timer: Timer
    ) -> tuple[list[list[Detection]], dict[int, str], dict[int, str]]:
        """Return the detections in each picture above the lowest threshold, from the store or computed now.

        Also return why a picture cannot be read, and what is unusual about one, each by the picture's position.
        """
        key = self.detections_key(samples)
        arrays = self.store.get("geneval-detections", key, check=stored.check_detections(len(samples)))
        if arrays is None:
            arrays = self._detect(samples, timer)
            self.store.put("geneval-detections", key, arrays)
        notes = json.loads(str(arrays["notes"]))
        errors = {int(i): text for i, text in notes["errors"].items()}
        remarks = {int(i): text for i, text in notes["remarks"].items()}
        return stored.unpack(arrays, len(samples)), errors, remarks

    def _detect(self, samples: Sequence[Sample], timer: Timer) -> Arrays:
        """Run the detector on every picture; return the arrays of `stored.pack` with errors and remarks as "notes"."""
        found: list[list[Detection]] = []
        errors: dict[int, str] = {}
        remarks: dict[int, str] = {}
        for i, sample in enumerate(samples):
            try:
                image, remark = open_picture(sample)
            except UnreadableImage as error:
                errors[i] = str(error)
                found.append([])
                continue
            if remark:
                remarks[i] = remark
            with timer.stage("detect", 1):
                detections = self.detector().detect(image)
                found.append(scorer.above_threshold(detections, self.judges.lowest_threshold))
            worked(1)
        notes = {"errors": errors, "remarks": remarks}
        return stored.pack(found) | {"notes": np.array(json.dumps(notes))}

    def _score_and_store(
        self,
        samples: Sequence[Sample],
        detections: Sequence[Sequence[Detection]],
        errors: dict[int, str],
        remarks: dict[int, str],
        timer: Timer,
    ) -> list[Record]:
        """Score every picture, store the records and return them.

        Args:
            detections: the detections in each picture.
            errors: why a picture cannot be read, by the picture's position in the shard.
            remarks: what is unusual about a picture, by the picture's position in the shard.
        """
        records: list[Record] = []
        for i, (sample, found) in enumerate(zip(samples, detections, strict=True)):
            if i in errors:
                records.append({"error": errors[i]})
                continue
            with timer.stage("score", 1):
                verdict = scorer.score(prompt_of(sample), found, self._classifier_of(sample), self.judges.options)
            boxes = {name: [[*d.box, d.score] for d in kept] for name, kept in verdict.kept.items()}
            colours = {name: list(seen) for name, seen in verdict.colours.items()}
            records.append(
                {
                    "correct": verdict.correct,
                    "reason": verdict.reason,
                    "boxes": boxes,
                    "colours": colours,
                    "remark": remarks.get(i, ""),
                }
            )
        self.store.put("geneval-verdicts", self.verdicts_key(samples), {"records": np.array(json.dumps(records))})
        return records

    def _classifier_of(self, sample: Sample) -> scorer.Classify:
        """Return the function by which the scorer asks for the colours of detections in this picture."""

        def classify(name: str, detections: Sequence[Detection]) -> list[str]:
            image, _ = open_picture(sample)
            return self.colours().classify(image, detections)

        return classify

    def _draw_verdict(self, sample: Sample, detections: Sequence[Detection], record: Record) -> Image.Image:
        """Return a picture with its verdict drawn on it."""
        prompt, options = prompt_of(sample), self.judges.options
        kept = scorer.keep(detections, options.threshold_for(prompt["tag"]), options)
        image, _ = open_picture(sample)
        return annotate.draw(image, kept, record["colours"], prompt["prompt"], record["correct"], record["reason"])


def prompt_of(sample: Sample) -> dict[str, Any]:
    """Return the prompt that a picture was made from."""
    return json.loads(sample.metadata)
