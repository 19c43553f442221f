"""The script that a user would write without this suite: write PNG files, then run one library after another on them.

`python -m benchmarks.speed.suite` times the suite against it. Both use the same networks.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import lpips
import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch_fidelity import calculate_metrics

import lactok
from lactok.nn import inception
from lactok.nn.lpips import load_lpips


def fidelity_weights(path: Path) -> Path:
    """Write Inception's weights as the .pth file that torch-fidelity reads, and return the path.

    The classifier, which features do not use, is zero.
    """
    state = dict(inception.inception().state_dict())
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, path)
    return path


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the processes that data loaders started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run(references: list[np.ndarray], name: str) -> tuple[dict[str, float], dict[str, float]]:
    """Reconstruct references (R, R, 3) uint8 by a tokenizer and score them.

    Returns:
        CPU seconds by stage, and the metrics by name.
    """
    seconds: dict[str, float] = {}

    def stage(label: str, started: float) -> None:
        seconds[label] = cpu_seconds() - started

    with tempfile.TemporaryDirectory() as scratch:
        folders = Path(scratch) / "reference", Path(scratch) / "reconstruction"
        for folder in folders:
            folder.mkdir()
        weights = fidelity_weights(Path(scratch) / "inception.pth")
        tokenizer = lactok.load(name)
        size = tokenizer.spec.input_size or references[0].shape[0]
        started = cpu_seconds()
        outputs = []
        for reference in references:
            small = Image.fromarray(reference).resize((size, size), Image.Resampling.BICUBIC)
            image = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
            output = tokenizer.decode(tokenizer.encode(image))
            outputs.append(torch.nn.functional.interpolate(output, reference.shape[:2], mode="bicubic").clamp(0, 1))
        stage("encode and decode", started)
        started = cpu_seconds()
        for i, (reference, output) in enumerate(zip(references, outputs, strict=True)):
            Image.fromarray(reference).save(folders[0] / f"{i:05}.png")
            array = (output[0].permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(array).save(folders[1] / f"{i:05}.png")
        stage("write PNG files", started)
        started = cpu_seconds()
        metrics: dict[str, list[float]] = {"psnr": [], "ssim": [], "lpips_alex": []}
        for first, second in _pairs(folders):
            metrics["psnr"].append(peak_signal_noise_ratio(first, second, data_range=255))
            metrics["ssim"].append(
                structural_similarity(
                    first / np.float32(255),
                    second / np.float32(255),
                    channel_axis=-1,
                    data_range=1.0,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
            )
        stage("PSNR and SSIM (scikit-image)", started)
        started = cpu_seconds()
        net: lpips.LPIPS = load_lpips("alex").model
        with torch.no_grad():
            for first, second in _pairs(folders):
                pair = [torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1 for a in (first, second)]
                metrics["lpips_alex"].append(float(net(*pair)))
        stage("LPIPS (lpips)", started)
        started = cpu_seconds()
        distances = calculate_metrics(
            input1=str(folders[0]),
            input2=str(folders[1]),
            fid=True,
            kid=True,
            cuda=False,
            verbose=False,
            kid_subset_size=len(references),
            kid_subsets=1,
            feature_extractor_weights_path=str(weights),
            cache=False,
            batch_size=8,
        )
        stage("FID and KID (torch-fidelity)", started)
    values = {k: float(np.mean(v)) for k, v in metrics.items()}
    return seconds, values | {"rfid": distances["frechet_inception_distance"]}


def _pairs(folders: tuple[Path, Path]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the images of the same name in two folders, (H, W, 3) uint8 each."""
    names = sorted(p.name for p in folders[0].iterdir())
    return [(np.array(Image.open(folders[0] / n)), np.array(Image.open(folders[1] / n))) for n in names]
