"""Turn the detections in several pictures into arrays that the store can keep, and back; masks are compressed."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from benchmarks.geneval.detectors import Detection
from lactok.evaluation.store import Arrays, Check


def pack(pictures: Sequence[Sequence[Detection]]) -> Arrays:
    """Return the detections in several pictures as arrays with a row per detection.

    Scores and boxes become float32, as the scorer takes them.

    Args:
        pictures: the detections by picture.

    Returns:
        The N rows: "picture" (N,), the picture's position; "name" (N,); "score" (N,); "box" (N, 4); "shape" (N, 2),
        height and width of the mask, 0 without one; "length" (N,), the bytes of its compressed mask; and "bits", the
        compressed masks of all detections in a row.
    """
    positions: list[int] = []
    detections: list[Detection] = []
    for position, found in enumerate(pictures):
        positions += [position] * len(found)
        detections += found
    shapes: list[tuple[int, ...]] = []
    compressed: list[bytes] = []
    for detection in detections:
        if detection.mask is None:
            shapes.append((0, 0))
            compressed.append(b"")
        else:
            shapes.append(detection.mask.shape)
            compressed.append(zlib.compress(np.packbits(detection.mask).tobytes(), 6))
    return {
        "picture": np.array(positions, np.int32),
        "name": np.array([d.name for d in detections], np.str_),
        "score": np.array([d.score for d in detections], np.float32),
        "box": np.array([d.box for d in detections], np.float32).reshape(-1, 4),
        "shape": np.array(shapes, np.int32).reshape(-1, 2),
        "bits": np.frombuffer(b"".join(compressed), np.uint8),
        "length": np.array([len(data) for data in compressed], np.int64),
    }


def unpack(arrays: Arrays, pictures: int) -> list[list[Detection]]:
    """Return the detections of each of so many pictures from the arrays of `pack`."""
    out: list[list[Detection]] = [[] for _ in range(pictures)]
    all_bits = arrays["bits"].tobytes()
    ends = np.cumsum(arrays["length"])
    for i, picture in enumerate(arrays["picture"].tolist()):
        compressed = all_bits[ends[i] - arrays["length"][i] : ends[i]]
        mask = None
        if compressed:
            height, width = arrays["shape"][i].tolist()
            bits = np.unpackbits(np.frombuffer(zlib.decompress(compressed), np.uint8), count=height * width)
            mask = bits.reshape(height, width).astype(bool)
        box = tuple(arrays["box"][i].tolist())
        out[picture].append(Detection(str(arrays["name"][i]), float(arrays["score"][i]), box, mask))
    return out


def check_detections(pictures: int) -> Check:
    """Return what says whether a file holds the arrays of `pack` for so many pictures, and notes on them."""

    def check(arrays: Arrays, _names: Collection[str]) -> None:
        notes = json.loads(str(arrays["notes"]))
        for told in (notes["errors"], notes["remarks"]):
            if not all(0 <= int(i) < pictures and isinstance(text, str) for i, text in told.items()):
                raise ValueError("notes on other pictures")
        rows = len(arrays["picture"])
        if any(len(arrays[name]) != rows for name in ("name", "score", "box", "shape", "length")):
            raise ValueError("rows are missing")
        if rows and not 0 <= int(arrays["picture"].min()) <= int(arrays["picture"].max()) < pictures:
            raise ValueError("detections in other pictures")
        if int(arrays["length"].sum()) != len(arrays["bits"]) or arrays["box"].shape != (rows, 4):
            raise ValueError("masks or boxes are missing")
        if any(arrays[name].dtype.kind != kind for name, kind in (("name", "U"), ("score", "f"), ("box", "f"))):
            raise ValueError("names or numbers of another kind")
        unpack(arrays, pictures)

    return check


def check_verdicts(pictures: int) -> Check:
    """Return what says whether a file holds the records of so many pictures as JSON."""

    def check(arrays: Arrays, _names: Collection[str]) -> None:
        records = json.loads(str(arrays["records"]))
        if len(records) != pictures or not all(_is_record(record) for record in records):
            raise ValueError("records of other pictures")

    return check


def _is_record(record: dict[str, Any]) -> bool:
    """Return whether this is the record of a picture that was judged, or that could not be read."""
    if "error" in record:
        return isinstance(record["error"], str)
    kinds = (("correct", bool), ("reason", str), ("boxes", dict), ("colours", dict), ("remark", str))
    return all(isinstance(record[name], kind) for name, kind in kinds)
