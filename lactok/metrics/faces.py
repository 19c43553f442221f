"""Whether a face is still that person's: a face recognition network on the photograph and on the reconstruction.

Faces are looked for in the photograph alone, as the protocol has prepared it. A face in the reconstruction is what lies
in the same place, aligned by the photograph's landmarks, so that one which can no longer be found counts as well. The
detector, the landmarks and the network are dlib's (King 2009): HOG features and a sliding window, five landmarks, and a
ResNet of 29 layers with embeddings of 128 numbers. The package face-recognition-models carries their files.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lactok.extras import MissingPackage
from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

LIBRARIES = ("dlib-bin", "face-recognition-models")
MODULES = ("dlib", "face_recognition_models")  # in which they lie
LANDMARKS, EMBEDDING = "shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"
ENLARGED = 1  # times by which the detector doubles an image, as face_recognition does: it sees faces of 40 px and more
SURE = 0.5  # score of the detector from which on something is a face; at its own 0 it takes folds and knees for faces


class Recogniser(Protocol):
    """Finds faces and describes them. Images are (H, W, 3) uint8, RGB."""

    def find(self, image: np.ndarray) -> Sequence[Any]:
        """Return the faces of an image: what `embed` needs to know of each."""

    def embed(self, image: np.ndarray, faces: Sequence[Any]) -> np.ndarray:
        """Return embeddings (n, D) of what is in the places of n faces."""


@dataclass(frozen=True)
class Faces:
    """The faces of a photograph.

    Attributes:
        places: where each is, as the recogniser found it.
        embeddings: (n, D), one of each.
    """

    places: tuple[Any, ...]
    embeddings: np.ndarray


def check() -> None:
    """Raise MissingPackage where dlib or the files of its networks are not installed."""
    for package, module in zip(LIBRARIES, MODULES, strict=True):
        if importlib.util.find_spec(module) is None:
            needs = f"the metric face_similarity needs the package {package}"
            raise MissingPackage(f"{needs}; install it with: pip install 'lactok[faces]'", package)


def faces_of(references: Tensor, device: str = "cpu") -> list[Faces]:
    """Return the faces of each photograph of uint8 (B, 3, H, W); the device is not used, since dlib runs on the CPU."""
    recogniser, found = _recogniser(), []
    for image in map(_pixels, references):
        places = tuple(recogniser.find(image))
        found.append(Faces(places, recogniser.embed(image, places) if places else np.empty((0, 0))))
    return found


@metric(
    "face_similarity",
    title="face similarity",
    higher=True,
    libraries=LIBRARIES,
    check=check,
    flops_a_pixel=5_000,
    reference_part=faces_of,
    partial=True,
    listed=False,
)
def face_similarity(
    references: Tensor, outputs: Tensor, device: str = "cpu", known: list[Faces] | None = None
) -> Tensor:
    """Return the cosine similarity (B,) float64 of face embeddings of photographs and reconstructions, -1 to 1.

    Of several faces it is the mean; it is nan for a photograph without a face.

    Args:
        references, outputs: uint8 (B, 3, H, W).
        device: not used; dlib runs on the CPU.
        known: the faces of the references, see `faces_of`.
    """
    import torch

    found = faces_of(references, device) if known is None else known
    values = [similarity(faces, image) for faces, image in zip(found, map(_pixels, outputs), strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def similarity(faces: Faces, image: np.ndarray) -> float:
    """Return the mean cosine of a photograph's faces and what an image (H, W, 3) uint8 has in their places, or nan."""
    if not faces.places:
        return float("nan")
    return float(cosines(faces.embeddings, _recogniser().embed(image, faces.places)).mean())


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between rows of (n, D) and (n, D), as (n,); 0 where a row is 0.

    >>> cosines(np.array([[1.0, 0], [0, 3]]), np.array([[2.0, 0], [3, 3]])).round(4).tolist()
    [1.0, 0.7071]
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / np.where(lengths > 0, lengths, 1)


def _pixels(image: Tensor) -> np.ndarray:
    """Return a uint8 image (3, H, W) as (H, W, 3)."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


class _Dlib:
    """dlib's detector, landmarks and network; a face is where its five landmarks are."""

    def __init__(self) -> None:
        check()
        import dlib

        found = importlib.util.find_spec(MODULES[1])
        # the package is not imported, since it needs a module that newer versions of setuptools lack
        assert found is not None
        assert found.submodule_search_locations, "a package is a folder"
        models = Path(found.submodule_search_locations[0]) / "models"
        self.detector = dlib.get_frontal_face_detector()
        self.landmarks = dlib.shape_predictor(str(models / LANDMARKS))
        self.network = dlib.face_recognition_model_v1(str(models / EMBEDDING))

    def find(self, image: np.ndarray) -> Sequence[Any]:
        boxes, _, _ = self.detector.run(image, ENLARGED, SURE)
        return [self.landmarks(image, box) for box in boxes]

    def embed(self, image: np.ndarray, faces: Sequence[Any]) -> np.ndarray:
        return np.array([self.network.compute_face_descriptor(image, face) for face in faces])


@lru_cache(maxsize=1)
def _recogniser() -> Recogniser:
    """Return the recogniser; its networks are loaded once in a process."""
    return _Dlib()
