"""From pairs of uint8 images to the numbers of a protocol, with every network loaded once."""

from __future__ import annotations

import numpy as np
import torch
from cleanfid.resize import build_resizer
from torch import Tensor

from lactok.metrics import fidelity
from lactok.evaluation.protocol import Score
from lactok.nn import inception
from lactok.device import exact_float32

# which stored features each distance between sets needs
FEATURES = {"rfid": "inception_tf1", "kid": "inception_tf1", "rfid_clean": "inception_clean"}


def clean_resize(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, 299, 299) float32, clean-fid's PIL bicubic in float."""
    resizer = build_resizer("clean")
    arrays = [resizer(image.permute(1, 2, 0).numpy()) for image in images.cpu()]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


LPIPS_PIXELS = 2**21  # at a time: VGG's feature maps take about 0.9 kB a pixel


class Scorer:
    """All metrics of one `Score` on one device."""

    def __init__(self, score: Score, device: str = "cpu"):
        self.score, self.device = score, device
        self.feature_names = sorted({FEATURES[m] for m in score.metrics if m in FEATURES})

    @torch.inference_mode()
    def features(self, images: Tensor) -> dict[str, np.ndarray]:
        """Inception features of uint8 images (B, 3, H, W), (B, 2048) float32 by name."""
        out = {}
        with exact_float32():
            for name in self.feature_names:
                resize = inception.tf1_resize if name == "inception_tf1" else clean_resize
                resized = resize(images).to(self.device, memory_format=torch.channels_last)
                out[name] = inception.inception(self.device)(resized).float().cpu().numpy()
        return out

    @torch.inference_mode()
    def per_image(self, references: Tensor, outputs: Tensor) -> dict[str, np.ndarray]:
        """Per-image metrics of two uint8 batches (B, 3, R, R), (B,) float64 by key."""
        values: dict[str, Tensor] = {}
        with exact_float32():
            for key in self.score.metrics:
                if key == "psnr":
                    values[key] = fidelity.psnr(references, outputs)
                elif key == "ssim":
                    values[key] = fidelity.ssim(references.float() / 255, outputs.float() / 255)
                elif key == "ssim_uniform7":
                    values[key] = fidelity.ssim_uniform7(references, outputs)
                elif key == "ssim_range2":
                    values[key] = fidelity.ssim_range2(references, outputs)
                elif key.startswith("lpips_"):
                    net = inception.load_lpips(key.removeprefix("lpips_"), self.device)
                    values[key] = self._lpips(net, references, outputs)
        return {k: v.cpu().numpy() for k, v in values.items()}

    def _lpips(self, net: inception.LPIPS, references: Tensor, outputs: Tensor) -> Tensor:
        step = max(1, LPIPS_PIXELS // (references.shape[-1] * references.shape[-2]))
        parts = []
        for start in range(0, len(references), step):
            pair = [t[start : start + step].to(self.device).float() / 127.5 - 1 for t in (references, outputs)]
            parts.append(net(*pair).double())
        return torch.cat(parts)
