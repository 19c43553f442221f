"""Detections of a prompt's pictures as arrays of the store; masks as compressed bits."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from benchmarks.geneval.detectors import Detection
from lactok.evaluation.store import Arrays


def pack(pictures: Sequence[Sequence[Detection]]) -> Arrays:
    """Arrays of the detections of several pictures; scores and boxes become float32, as the scorer takes them."""
    flat = [(i, d) for i, detections in enumerate(pictures) for d in detections]
    blobs, shapes = [], []
    for _, detection in flat:
        mask = detection.mask
        blobs.append(b"" if mask is None else zlib.compress(np.packbits(mask).tobytes(), 6))
        shapes.append((0, 0) if mask is None else mask.shape)
    return {
        "picture": np.array([i for i, _ in flat], np.int32),
        "name": np.array([d.name for _, d in flat], np.str_),
        "score": np.array([d.score for _, d in flat], np.float32),
        "box": np.array([d.box for _, d in flat], np.float32).reshape(-1, 4),
        "shape": np.array(shapes, np.int32).reshape(-1, 2),
        "bits": np.frombuffer(b"".join(blobs), np.uint8),
        "length": np.array([len(b) for b in blobs], np.int64),
    }


def unpack(arrays: Arrays, pictures: int) -> list[list[Detection]]:
    """The detections of each picture again."""
    out: list[list[Detection]] = [[] for _ in range(pictures)]
    data, ends = arrays["bits"].tobytes(), np.cumsum(arrays["length"])
    for i, picture in enumerate(arrays["picture"].tolist()):
        shape, blob = tuple(arrays["shape"][i].tolist()), data[ends[i] - arrays["length"][i] : ends[i]]
        mask = None
        if blob:
            bits = np.unpackbits(np.frombuffer(zlib.decompress(blob), np.uint8), count=shape[0] * shape[1])
            mask = bits.reshape(shape).astype(bool)
        box = tuple(arrays["box"][i].tolist())
        out[picture].append(Detection(str(arrays["name"][i]), float(arrays["score"][i]), box, mask))
    return out
