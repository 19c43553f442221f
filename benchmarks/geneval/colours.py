"""Colours of detected objects by CLIP, as GenEval asks: object on grey, cut out, the nearest of ten colours.

djghosh13/geneval @ af4902f, evaluation/evaluate_images.py, and clip_benchmark's zero-shot classifier, which it calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.geneval.detectors import COLOURS, ColourClassifier, Detection, JudgeInfo
from lactok.assets import CLIP_L_14, CLIP_TOKENIZER

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GREY = "#999"
BATCH = 16
CONTEXT = 77  # tokens of a text
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")

# config.json of openai/clip-vit-large-patch14, where it differs from transformers' defaults
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
VISION = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
    "patch_size": 14,
}  # fmt: skip


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


class ClipColours(ColourClassifier):
    """The official classifier: OpenAI's CLIP ViT-L/14, always in float32."""

    info = JudgeInfo("clip-vit-l-14", COLOURS, "MIT (OpenAI CLIP)", comparable=True, assets=(CLIP_L_14, CLIP_TOKENIZER))

    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        from tokenizers import Tokenizer
        from transformers import CLIPConfig, CLIPModel

        from lactok import weights

        tensors = weights.load(CLIP_L_14)
        model = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=768))
        weights.load_strict(model, tensors, self.info.name)
        self.model = model.eval().to(device)
        stored = weights.load(CLIP_TOKENIZER)["json"]
        self.tokenizer = Tokenizer.from_str(bytes(stored.tolist()).decode())
        self._known: dict[str, Tensor] = {}

    def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
        import torch
        import torch.nn.functional as F

        from lactok.device import exact_float32

        found: list[str] = []
        with torch.inference_mode(), exact_float32():
            for start in range(0, len(detections), BATCH):
                batch = detections[start : start + BATCH]
                pixels = torch.stack([_pixels(crop) for crop in crops(image, batch)]).to(self.device)
                features = F.normalize(self.model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
                nearest = (features @ self._directions(batch[0].name).T).argmax(1)
                found += [COLOURS[i] for i in nearest.tolist()]
        return found

    def _directions(self, name: str) -> Tensor:
        """(10, D), computed once a name."""
        if name not in self._known:
            sentences = [sentence for group in texts(name) for sentence in group]
            embedded = self.model.get_text_features(input_ids=self._tokens(sentences).to(self.device)).pooler_output
            self._known[name] = directions(embedded.unflatten(0, (len(COLOURS), len(TEMPLATES))))
        return self._known[name]

    def _tokens(self, sentences: Sequence[str]) -> Tensor:
        """(n, 77) int64. Padding is 0 after the end token, where the network's causal mask hides it."""
        import torch

        out = torch.zeros(len(sentences), CONTEXT, dtype=torch.int64)
        for row, sentence in enumerate(sentences):
            ids = self.tokenizer.encode(sentence).ids
            ids = [*ids[: CONTEXT - 1], ids[-1]] if len(ids) > CONTEXT else ids
            out[row, : len(ids)] = torch.tensor(ids)
        return out


def _pixels(crop: Image.Image) -> torch.Tensor:
    """CLIP's own preparation of an RGB image, (3, 224, 224) float32: bicubic, central square, normalised."""
    from torchvision.transforms import functional

    resized = functional.resize(crop, 224, functional.InterpolationMode.BICUBIC)
    square = functional.center_crop(resized, [224, 224])
    return functional.normalize(functional.to_tensor(square), MEAN, STD)
