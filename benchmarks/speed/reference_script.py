"""The script that a user would write without this suite: write PNG files, then run one library after another on them.

`python -m benchmarks.speed.suite` times the suite against it. Both use the same networks.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def run(
    photographs: Sequence[Path], reconstruct: str | Sequence[Path]
) -> tuple[dict[str, float], dict[str, float], float]:
    """Reconstruct photographs by a tokenizer, or read stored reconstructions, and score them.

    Args:
        photographs: files of square images.
        reconstruct: a tokenizer's name; or the files of their reconstructions, arrays (R, R, 3) uint8 of numpy.

    Returns:
        CPU seconds by stage, the metrics by name, and the seconds of wall time of all stages.
    """
    seconds: dict[str, float] = {}
    wall = 0.0

    @contextmanager
    def stage(label: str) -> Iterator[None]:
        nonlocal wall
        started, began = cpu_seconds(), time.perf_counter()
        yield
        seconds[label] = cpu_seconds() - started
        wall += time.perf_counter() - began

    with tempfile.TemporaryDirectory() as scratch:
        folders = Path(scratch) / "reference", Path(scratch) / "reconstruction"
        for folder in folders:
            folder.mkdir()
        weights = fidelity_weights(Path(scratch) / "inception.pth")
        with stage("read photographs"):
            references = [np.array(Image.open(path)) for path in photographs]
        if isinstance(reconstruct, str):
            tokenizer = lactok.load(reconstruct)
            with stage("encode and decode"):
                outputs = [reconstructed(tokenizer, reference) for reference in references]
        else:
            with stage("read reconstructions"):
                outputs = [np.load(path) for path in reconstruct]
        with stage("write PNG files"):
            write_files(references, outputs, folders)
        with stage("PSNR and SSIM (scikit-image)"):
            pairs = _pairs(folders)
            psnr = [peak_signal_noise_ratio(*pair, data_range=255) for pair in pairs]
            ssim = [ssim_by_scikit_image(*pair) for pair in pairs]
        with stage("LPIPS (lpips)"):
            net: lpips.LPIPS = load_lpips("alex").model
            distances = [lpips_distance(net, *pair) for pair in _pairs(folders)]
        with stage("FID and KID (torch-fidelity)"):
            of_sets = calculate_metrics(
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
    values = {
        "psnr": float(np.mean(psnr)),
        "ssim": float(np.mean(ssim)),
        "lpips_alex": float(np.mean(distances)),
        "rfid": of_sets["frechet_inception_distance"],
        "kid": of_sets["kernel_inception_distance_mean"],
    }
    return seconds, values, wall


def reconstructed(tokenizer: lactok.Tokenizer, reference: np.ndarray) -> np.ndarray:
    """Reconstruct a reference (R, R, 3) uint8 at the tokenizer's size and enlarge it again to (R, R, 3) uint8."""
    size = tokenizer.spec.input_size or reference.shape[0]
    small = Image.fromarray(reference).resize((size, size), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
    output = tokenizer.decode(tokenizer.encode(image))
    output = torch.nn.functional.interpolate(output, reference.shape[:2], mode="bicubic").clamp(0, 1)
    return (output[0].permute(1, 2, 0) * 255).round().byte().numpy()


def write_files(references: list[np.ndarray], outputs: list[np.ndarray], folders: tuple[Path, Path]) -> None:
    """Write the references into the first folder and the reconstructions into the second, as PNG files."""
    for i, (reference, output) in enumerate(zip(references, outputs, strict=True)):
        Image.fromarray(reference).save(folders[0] / f"{i:05}.png")
        Image.fromarray(output).save(folders[1] / f"{i:05}.png")


def ssim_by_scikit_image(first: np.ndarray, second: np.ndarray) -> float:
    """Return the SSIM of two images (H, W, 3) uint8."""
    return structural_similarity(
        first / np.float32(255),
        second / np.float32(255),
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@torch.no_grad()
def lpips_distance(net: lpips.LPIPS, first: np.ndarray, second: np.ndarray) -> float:
    """Return the LPIPS distance of two images (H, W, 3) uint8."""
    pair = [torch.from_numpy(a).permute(2, 0, 1)[None].float() / 127.5 - 1 for a in (first, second)]
    return float(net(*pair))


def _pairs(folders: tuple[Path, Path]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the images of the same name in two folders, (H, W, 3) uint8 each."""
    names = sorted(p.name for p in folders[0].iterdir())
    return [(np.array(Image.open(folders[0] / n)), np.array(Image.open(folders[1] / n))) for n in names]
