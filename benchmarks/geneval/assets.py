"""The weights of GenEval's judges: the detector's official checkpoint, a similar one on the model hub, and CLIP."""

from __future__ import annotations

from lactok.nn.clip_checkpoint import CLIP_L_14, CLIP_TOKENIZER
from lactok.specs import Asset, Hub, Url

_MMDET_FILE = "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth"
_MMDET_SHA256 = "743b7d99015f1224c6d57fd4b14d04b15cc8ec72ae7ee7831e7c71d8873b7a54"
MASK2FORMER_MMDET = Asset(
    "mask2former-mmdet",
    license="Apache-2.0 (mmdetection)",
    sources=(
        Url(
            "https://download.openmmlab.com/mmdetection/v2.0/mask2former/"
            f"mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco/{_MMDET_FILE}",
            _MMDET_SHA256,
            275_630_991,
        ),
        Hub("Pfei111/mask2former", _MMDET_FILE, _MMDET_SHA256),  # an unofficial copy with the same bytes
    ),
    convert="benchmarks.geneval.mask2former_names:convert",
    size=275_630_991,
)
MASK2FORMER_HF = Asset(
    "mask2former-hf",
    license="MIT (Mask2Former's code; the file's own card says: other)",
    sources=tuple(
        Hub("facebook/mask2former-swin-small-coco-instance", f) for f in ("model.safetensors", "pytorch_model.bin")
    ),
    convert="benchmarks.geneval.mask2former_names:convert",
    size=276_000_000,
)

ASSETS = (MASK2FORMER_MMDET, MASK2FORMER_HF, CLIP_L_14, CLIP_TOKENIZER)


def assets() -> dict[str, tuple[Asset, ...]]:
    """Return the suite's weights by the heading under which `python -m lactok.weights list` shows them."""
    return {"GenEval": ASSETS}
