"""Colours of detected objects by CLIP, as GenEval asks: object on grey, cut out, the nearest of ten colours.

djghosh13/geneval @ af4902f, evaluation/evaluate_images.py, and clip_benchmark's zero-shot classifier, which it calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.geneval.detectors import COLOURS, ColourClassifier, Detection, JudgeSpec, register_colour_classifier
from lactok.nn.clip_checkpoint import CLIP_L_14, CLIP_TOKENIZER

if TYPE_CHECKING:
    from torch import Tensor

GREY = "#999"
BATCH = 16
TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")


def crops(
    image: Image.Image, detections: Sequence[Detection], background: str | None = GREY, cut: bool = True
) -> list[Image.Image]:
    """The objects cut out of an RGB image, what is outside their masks grey.

    The official code's switches: `background` None leaves the image as it is, without `cut` all of it is shown.

    Box sides are rounded half to even, as Pillow does. A box that reaches over the edge gets black there (Pillow's
    crop), and one without area is widened to a pixel, which the official code does not survive.
    """
    blank = Image.new("RGB", image.size, background) if background else image
    out = []
    for detection in detections:
        shown = image
        if detection.mask is not None:
            shown = Image.composite(image, blank, Image.fromarray(detection.mask))
        left, top, right, bottom = (round(float(side)) for side in detection.box)
        out.append(shown.crop((left, top, max(right, left + 1), max(bottom, top + 1))) if cut else shown)
    return out


def texts(name: str) -> list[list[str]]:
    """The sentences that stand for each colour of `COLOURS`.

    >>> texts("bus")[0]
    ['a photo of a red bus', 'a photo of a red-colored bus', 'a photo of a red object']
    """
    return [[template.format(colour=colour, name=name) for template in TEMPLATES] for colour in COLOURS]


def directions(embeddings: Tensor) -> Tensor:
    """(colours, templates, D) text embeddings -> (colours, D): each of length 1, averaged, of length 1 again."""
    import torch.nn.functional as F

    return F.normalize(F.normalize(embeddings, dim=-1).mean(1), dim=-1)


@register_colour_classifier(
    JudgeSpec("clip-vit-l-14", COLOURS, "MIT (OpenAI CLIP)", comparable=True, assets=(CLIP_L_14, CLIP_TOKENIZER))
)
class ClipColours(ColourClassifier):
    """The official classifier: OpenAI's CLIP ViT-L/14, always in float32."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        from lactok import weights
        from lactok.nn import clip
        from lactok.nn.loading import filled

        self.model = filled(clip.VIT_L_14.build, weights.load(CLIP_L_14), self.spec.name).to(device)
        self.texts = clip.texts()
        self._known: dict[str, Tensor] = {}

    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        import torch

        from lactok.device import exact_float32
        from lactok.metrics.rewards import preprocess
        from lactok.nn import clip

        found: list[str] = []
        with torch.inference_mode(), exact_float32():
            for start in range(0, len(detections), BATCH):
                batch = detections[start : start + BATCH]
                pixels = preprocess.batch([preprocess.openai(crop) for crop in crops(image, batch)], self.device)
                features = clip.image_features(self.model, pixels)
                nearest = (features @ self._directions(batch[0].name).T).argmax(1)
                found += [COLOURS[i] for i in nearest.tolist()]
        return found

    def _directions(self, name: str) -> Tensor:
        """(10, D), computed once a name."""
        from lactok.nn import clip

        if name not in self._known:
            sentences = [sentence for group in texts(name) for sentence in group]
            embedded = clip.text_features(self.model, self.texts(sentences, self.device)[0])
            self._known[name] = directions(embedded.unflatten(0, (len(COLOURS), len(TEMPLATES))))
        return self._known[name]
