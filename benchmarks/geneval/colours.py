"""GenEval's colour classifier: CLIP names the nearest of ten colours for an object cut out on a grey background.

Source: djghosh13/geneval @ af4902f, evaluation/evaluate_images.py, and clip_benchmark's zero-shot classifier, which it
calls.
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
    """Cut the detected objects out of an RGB image; return one RGB image per detection.

    Box sides are rounded half to even, as Pillow does. Where a box reaches over the image's edge, the crop is black
    (Pillow's crop). A box without area is widened to one pixel; the official code fails on it.

    Args:
        background: colour of what is outside an object's mask; None leaves the image there, as the official code can.
        cut: crop to the box; False returns the whole image, as the official code can.
    """
    blank = Image.new("RGB", image.size, background) if background else image
    out = []
    for detection in detections:
        shown = image
        if detection.mask is not None:
            shown = Image.composite(image, blank, Image.fromarray(detection.mask))
        if cut:
            left, top, right, bottom = (round(float(side)) for side in detection.box)
            shown = shown.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
        out.append(shown)
    return out


def texts(name: str) -> list[list[str]]:
    """Return the sentences that describe an object of this name in each colour: one list per colour of `COLOURS`.

    >>> texts("bus")[0]
    ['a photo of a red bus', 'a photo of a red-colored bus', 'a photo of a red object']
    """
    return [[template.format(colour=colour, name=name) for template in TEMPLATES] for colour in COLOURS]


def directions(embeddings: Tensor) -> Tensor:
    """Average the text embeddings of each colour's sentences: (colours, templates, D) -> (colours, D) of length 1.

    Embeddings are normalised to length 1 before the mean as well.
    """
    import torch.nn.functional as F

    return F.normalize(F.normalize(embeddings, dim=-1).mean(1), dim=-1)


@register_colour_classifier(
    JudgeSpec("clip-vit-l-14", COLOURS, "MIT (OpenAI CLIP)", comparable=True, assets=(CLIP_L_14, CLIP_TOKENIZER))
)
class ClipColours(ColourClassifier):
    """The official colour classifier: OpenAI's CLIP ViT-L/14, always in float32."""

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        from lactok import weights
        from lactok.nn import clip
        from lactok.nn.loading import filled

        self.model = filled(clip.VIT_L_14.build, weights.load(CLIP_L_14), self.spec.name).to(device)
        self.tokenize = clip.texts()
        self._text_directions: dict[str, Tensor] = {}  # by the object's name

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
        """Return the colours' text embeddings for an object of this name, (10, D); each name is computed once."""
        from lactok.nn import clip

        if name not in self._text_directions:
            sentences = [sentence for of_colour in texts(name) for sentence in of_colour]
            tokens = self.tokenize(sentences, self.device)[0]
            embedded = clip.text_features(self.model, tokens)
            self._text_directions[name] = directions(embedded.unflatten(0, (len(COLOURS), len(TEMPLATES))))
        return self._text_directions[name]
