"""GenEval's work on a shard of pictures: detected once, then scored; both kept under the hash of all they depend on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from benchmarks.geneval import annotate, scorer, stored
from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.folder import open_picture
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork
from lactok.evaluation.store import Store
from lactok.evaluation.timing import Timer
from lactok.images import UnreadableImage, png

Annotate = Literal["none", "wrong", "all"]
Record = dict[str, Any]  # {correct, reason, boxes, colours, remark} of a judged picture, {error} of another


@dataclass(frozen=True)
class Judges:
    """Who judges; cheap to send to another process.

    Attributes:
        assets: name, source and sha256 of each file of their weights.
    """

    detector: type[Detector]
    colours: type[ColourClassifier]
    assets: tuple[tuple[str, str, str], ...]

    @property
    def options(self) -> scorer.Options:
        return scorer.Options(self.detector.spec.threshold, self.detector.spec.counting_threshold)

    def identity(self, spec: JudgeSpec) -> list[Any]:
        """A judge's name, version and weights."""
        digests = {name: sha256 for name, _, sha256 in self.assets}
        return [spec.name, spec.version, [[a.name, digests[a.name]] for a in spec.assets]]


@dataclass(frozen=True, eq=False)
class JudgingWork(ShardWork):
    """The verdicts on pictures, whose `metadata` is their prompt as JSON.

    Attributes:
        annotated: which pictures are drawn with their verdicts.
    """

    judges: Judges
    run: Run
    store: Store
    annotated: Annotate = "none"
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": {}}  # each process loads its own

    def detector(self) -> Detector:
        """Loaded at the first picture that needs it."""
        if "detector" not in self._loaded:
            self._loaded["detector"] = self.judges.detector(self.run.device)
        return self._loaded["detector"]

    def colours(self) -> ColourClassifier:
        """As `detector`."""
        if "colours" not in self._loaded:
            self._loaded["colours"] = self.judges.colours(self.run.device)
        return self._loaded["colours"]

    def detections_key(self, samples: Sequence[Sample]) -> str:
        """Changes with the pictures' bytes, the detector and its weights, the image library, the kind of device."""
        options, machine = self.judges.options, [self.run.device_kind, version("pillow")]
        floor = min(options.threshold, options.counting_threshold)
        detector = self.judges.identity(self.judges.detector.spec)
        return digest(["geneval detections", detector, floor, machine, [s.sha256 for s in samples]])

    def verdicts_key(self, samples: Sequence[Sample]) -> str:
        """Changes with the detections, the prompts, the colour classifier and its weights, the scorer."""
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
        """Of the drawn verdict on one picture of a shard."""
        return digest(["geneval annotated", verdicts_key, sample.id, annotate.VERSION])

    def stored(self, samples: Sequence[Sample]) -> list[Record] | None:
        """A record a picture; None if they are not judged yet."""
        arrays = self.store.get("geneval-verdicts", self.verdicts_key(samples))
        return None if arrays is None else json.loads(str(arrays["records"]))

    def need(self, samples: Sequence[Sample]) -> list[Record]:
        """`stored` of a shard that was judged before; if the records were lost since, say so."""
        arrays = self.store.need("geneval-verdicts", self.verdicts_key(samples))
        return json.loads(str(arrays["records"]))

    def wanted(self, record: Record) -> bool:
        """Whether a picture with this record is to be drawn."""
        return "error" not in record and (
            self.annotated == "all" or (self.annotated == "wrong" and not record["correct"])
        )

    def _undrawn(self, samples: Sequence[Sample], records: Sequence[Record]) -> list[int]:
        key = self.verdicts_key(samples)
        return [
            i
            for i, (sample, record) in enumerate(zip(samples, records, strict=True))
            if self.wanted(record) and not self.store.picture(self.picture_key(key, sample)).is_file()
        ]

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        if not all(sample.path.is_file() for sample in samples):  # another part makes them
            return False
        records = self.stored(samples)
        return records is not None and not self._undrawn(samples, records)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        records = self.stored(samples)
        if records is not None and not self._undrawn(samples, records):
            return
        detections, errors, remarks = self._detections(samples, timer)
        if records is None:
            records = self._verdicts(samples, detections, errors, remarks, timer)
        key = self.verdicts_key(samples)
        for i in self._undrawn(samples, records):
            with timer.stage("annotate"):
                drawn = self._drawn(samples[i], detections[i], records[i])
                self.store.put_picture(self.picture_key(key, samples[i]), png(drawn))

    def _detections(
        self, samples: Sequence[Sample], timer: Timer
    ) -> tuple[list[list[Detection]], dict[int, str], dict[int, str]]:
        """Of each picture, above the lower threshold; errors and remarks by the picture's position."""
        key = self.detections_key(samples)
        arrays = self.store.get("geneval-detections", key)
        if arrays is None:
            options = self.judges.options
            floor = min(options.threshold, options.counting_threshold)
            found: list[list[Detection]] = []
            notes: dict[str, dict[int, str]] = {"errors": {}, "remarks": {}}
            for i, sample in enumerate(samples):
                found.append([])
                try:
                    image, remark = open_picture(sample)
                except UnreadableImage as error:
                    notes["errors"][i] = str(error)
                    continue
                if remark:
                    notes["remarks"][i] = remark
                with timer.stage("detect", 1):
                    found[-1] = list(scorer.above(self.detector().detect(image), floor))
            arrays = stored.pack(found) | {"notes": np.array(json.dumps(notes))}
            self.store.put("geneval-detections", key, arrays)
        notes = json.loads(str(arrays["notes"]))
        errors, remarks = ({int(i): text for i, text in notes[kind].items()} for kind in ("errors", "remarks"))
        return stored.unpack(arrays, len(samples)), errors, remarks

    def _verdicts(
        self,
        samples: Sequence[Sample],
        detections: Sequence[Sequence[Detection]],
        errors: dict[int, str],
        remarks: dict[int, str],
        timer: Timer,
    ) -> list[Record]:
        records: list[Record] = []
        for i, (sample, found) in enumerate(zip(samples, detections, strict=True)):
            if i in errors:
                records.append({"error": errors[i]})
                continue
            with timer.stage("score", 1):
                verdict = scorer.score(prompt_of(sample), found, self._classify(sample), self.judges.options)
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

    def _classify(self, sample: Sample) -> scorer.Classify:
        def classify(name: str, detections: Sequence[Detection]) -> list[str]:
            return self.colours().classify(open_picture(sample)[0], detections)

        return classify

    def _drawn(self, sample: Sample, detections: Sequence[Detection], record: Record) -> Any:
        prompt, options = prompt_of(sample), self.judges.options
        kept = scorer.keep(detections, options.floor(prompt["tag"]), options)
        return annotate.draw(
            open_picture(sample)[0], kept, record["colours"], prompt["prompt"], record["correct"], record["reason"]
        )


def prompt_of(sample: Sample) -> dict[str, Any]:
    """The prompt that a picture was made from."""
    return json.loads(sample.metadata)
