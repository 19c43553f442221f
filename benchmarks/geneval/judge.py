"""A prompt's pictures to verdicts: detected once, then scored; both kept under the hash of all that they depend on."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from PIL import Image

from benchmarks.geneval import annotate, scorer, stored
from benchmarks.geneval.detectors import ColourClassifier, Detection, Detector, JudgeSpec
from benchmarks.geneval.folder import Entry, open_picture
from lactok.evaluation.executors import Timer
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import Store
from lactok.images import UnreadableImage

ANNOTATE = ("none", "wrong", "all")


@dataclass(frozen=True)
class Judges:
    """Who judges, how, and where that is kept; cheap to send to another process, loaded there when needed.

    Attributes:
        digests: of the assets, by name: what the judges' weights are.
        annotated: which pictures are drawn, one of `ANNOTATE`.
    """

    detector: type[Detector]
    colours: type[ColourClassifier]
    digests: tuple[tuple[str, str], ...]
    store: Store
    device: str = "cpu"
    annotated: str = "none"

    @property
    def options(self) -> scorer.Options:
        return scorer.Options(self.detector.spec.threshold, self.detector.spec.counting_threshold)

    def detections_key(self, entry: Entry) -> str:
        """Changes with the pictures' bytes, the detector and its weights, the image library, the kind of device."""
        pictures = [p.sha256 for p in entry.pictures]
        options = self.options
        floor = min(options.threshold, options.counting_threshold)
        return digest(["geneval detections", self._judge(self.detector.spec), floor, self._machine, pictures])

    def verdicts_key(self, entry: Entry) -> str:
        """Changes with the detections, the prompt, the colour classifier and its weights, the scorer."""
        colours = self._judge(self.colours.spec)
        return digest(["geneval verdicts", self.detections_key(entry), colours, entry.prompt, scorer.VERSION,
                       vars(self.options)])  # fmt: skip

    def picture_key(self, entry: Entry, index: int) -> str:
        return digest(["geneval annotated", self.verdicts_key(entry), index, annotate.VERSION])

    @property
    def _machine(self) -> list[str]:
        return [self.device.partition(":")[0], version("pillow")]

    def _judge(self, spec: JudgeSpec) -> list[Any]:
        known = dict(self.digests)
        return [spec.name, spec.version, [[a.name, known[a.name]] for a in spec.assets]]

    def stored_verdicts(self, entry: Entry) -> list[dict[str, Any]] | None:
        """A record a picture: {correct, reason, boxes, colours, remark} or {error}; None if not judged yet."""
        arrays = self.store.get("geneval-verdicts", self.verdicts_key(entry))
        return None if arrays is None else json.loads(str(arrays["records"]))

    def need(self, entry: Entry) -> list[dict[str, Any]]:
        """`stored_verdicts` of a prompt that was judged before; if they were lost since, say so."""
        if not entry.pictures:
            return []
        arrays = self.store.need("geneval-verdicts", self.verdicts_key(entry))
        return json.loads(str(arrays["records"]))

    def is_finished(self, entry: Entry) -> bool:
        records = self.stored_verdicts(entry)
        return records is not None and not self._undrawn(entry, records)

    def wanted(self, record: dict[str, Any]) -> bool:
        """Whether a picture with this record is to be drawn."""
        return "error" not in record and (
            self.annotated == "all" or (self.annotated == "wrong" and not record["correct"])
        )

    def _undrawn(self, entry: Entry, records: Sequence[dict[str, Any]]) -> list[int]:
        return [
            i for i, record in enumerate(records)
            if self.wanted(record) and not self.store.picture(self.picture_key(entry, i)).is_file()
        ]  # fmt: skip


class Judging:
    """The judges at work in one process, loaded at the first picture that needs them."""

    def __init__(self, judges: Judges):
        self.judges = judges

    @cached_property
    def detector(self) -> Detector:
        return self.judges.detector(self.judges.device)

    @cached_property
    def colours(self) -> ColourClassifier:
        return self.judges.colours(self.judges.device)

    def finish(self, entry: Entry) -> Timer:
        """Make what is missing in the store and nothing else."""
        timer, judges = Timer(self.judges.device), self.judges
        records = judges.stored_verdicts(entry)
        if records is not None and not judges._undrawn(entry, records):
            return timer
        detections, errors, remarks = self._detections(entry, timer)
        if records is None:
            records = self._verdicts(entry, detections, errors, remarks, timer)
        for i in judges._undrawn(entry, records):
            with timer.stage("annotate"):
                self._draw(entry, i, detections[i], records[i])
        return timer

    def _detections(self, entry: Entry, timer: Timer) -> tuple[list[list[Detection]], dict[int, str], dict[int, str]]:
        """Of each picture, above the lower threshold; errors and remarks by the picture's position."""
        judges, key, number = self.judges, self.judges.detections_key(entry), len(entry.pictures)
        arrays = judges.store.get("geneval-detections", key)
        if arrays is None:
            floor = min(judges.options.threshold, judges.options.counting_threshold)
            found: list[list[Detection]] = []
            notes: dict[str, dict[int, str]] = {"errors": {}, "remarks": {}}
            for i, picture in enumerate(entry.pictures):
                found.append([])
                try:
                    image, remark = open_picture(picture)
                except UnreadableImage as error:
                    notes["errors"][i] = str(error)
                    continue
                if remark:
                    notes["remarks"][i] = remark
                with timer.stage("detect"):
                    found[-1] = list(scorer.above(self.detector.detect(image), floor))
            import numpy as np

            arrays = stored.pack(found) | {"notes": np.array(json.dumps(notes))}
            judges.store.put("geneval-detections", key, arrays)
        notes = json.loads(str(arrays["notes"]))
        errors, remarks = ({int(i): text for i, text in notes[kind].items()} for kind in ("errors", "remarks"))
        return stored.unpack(arrays, number), errors, remarks

    def _verdicts(
        self, entry: Entry, detections: Sequence[Sequence[Detection]], errors: dict[int, str], remarks: dict[int, str],
        timer: Timer,
    ) -> list[dict[str, Any]]:  # fmt: skip
        records: list[dict[str, Any]] = []
        for i, found in enumerate(detections):
            if i in errors:
                records.append({"error": errors[i]})
                continue
            with timer.stage("score"):
                verdict = scorer.score(entry.prompt, found, self._classify(entry, i), self.judges.options)
            boxes = {name: [[*d.box, d.score] for d in kept] for name, kept in verdict.kept.items()}
            colours = {name: list(seen) for name, seen in verdict.colours.items()}
            records.append({"correct": verdict.correct, "reason": verdict.reason, "boxes": boxes, "colours": colours,
                            "remark": remarks.get(i, "")})  # fmt: skip
        import numpy as np

        self.judges.store.put(
            "geneval-verdicts", self.judges.verdicts_key(entry), {"records": np.array(json.dumps(records))}
        )
        return records

    def _classify(self, entry: Entry, index: int) -> scorer.Classify:
        def classify(name: str, detections: Sequence[Detection]) -> list[str]:
            return self.colours.classify(open_picture(entry.pictures[index])[0], detections)

        return classify

    def _draw(self, entry: Entry, index: int, detections: Sequence[Detection], record: dict[str, Any]) -> None:
        image = open_picture(entry.pictures[index])[0]
        kept = scorer.keep(detections, self.judges.options.floor(entry.prompt["tag"]), self.judges.options)
        drawn = annotate.draw(
            image, kept, record["colours"], entry.prompt["prompt"], record["correct"], record["reason"]
        )
        self.judges.store.put_picture(self.judges.picture_key(entry, index), png(drawn))


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


_worker: dict[str, Judging] = {}


def start_worker(judges: Judges) -> None:
    _worker["judging"] = Judging(judges)


def work(entry: Entry) -> Timer:
    return _worker["judging"].finish(entry)
