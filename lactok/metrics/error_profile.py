"""What kind of error reconstructions have: shifts of brightness and colour, and how much of each octave of detail.

The value of the metric is the share of the finest octave's power that is kept; a result's `profile.json` has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lactok.metrics.registry import metric

if TYPE_CHECKING:
    from torch import Tensor

OCTAVES = 5  # the finest holds frequencies above 1/4 cycle a pixel, the next those from 1/8 to 1/4, and so on
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of gamma-encoded red, green, blue
ROUNDING = sum(weight**2 for weight in LUMA) / 12  # grey levels squared: the power of rounding to whole numbers


def kept(reference: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Return which share of a reference's power in each octave the output has, 1 at most, (N, OCTAVES).

    Args:
        reference, output: their power as `octave_power` gives it.
    """
    return np.minimum(output / reference, 1)


def mean_kept(states: Sequence[Mapping[str, np.ndarray]]) -> float:
    """Return the mean over images of the share of the finest octave's power that is kept."""
    return float(1 - np.concatenate([state["detail"] for state in states]).mean())


@metric("error_profile", title="high frequencies kept", higher=True, merge=mean_kept, of_images=True, flops_a_pixel=500)
def error_profile(references: Tensor, outputs: Tensor, device: str = "cpu") -> dict[str, np.ndarray]:
    """Return the state of N pairs of uint8 images (N, 3, H, W).

    Returns:
        lab_reference, lab_output: (N, 4), see `mean_lab`; power_reference, power_output: (N, OCTAVES), see
        `octave_power`; and by how much an image is off, (N,): brightness, the absolute difference of mean L*; colour,
        the distance of the means of a* and b*; detail, the share of the finest octave's power that is lost.
    """
    lab = [np.array([mean_lab(image) for image in images]) for images in (references, outputs)]
    power = [np.array([octave_power(image, device) for image in images]) for images in (references, outputs)]
    shift = lab[1] - lab[0]
    return {
        "lab_reference": lab[0],
        "lab_output": lab[1],
        "power_reference": power[0],
        "power_output": power[1],
        "brightness": np.abs(shift[:, 0]),
        "colour": np.hypot(shift[:, 1], shift[:, 2]),
        "detail": 1 - kept(*power)[:, 0],
    }


def mean_lab(image: Tensor) -> np.ndarray:
    """Return the means over pixels of CIELAB's L*, a*, b* and of the chroma, the distance of a*, b* from grey.

    Args:
        image: (3, H, W) uint8, sRGB; the white point is D65.

    Returns:
        (4,) float64.
    """
    import torch

    from lactok.metrics.colour import PIXELS, lab

    pixels, totals = image.flatten(1), np.zeros(4)
    for start in range(0, pixels.shape[1], PIXELS):
        lightness, a, b = lab(pixels[:, start : start + PIXELS])
        totals += [values.double().sum().item() for values in (lightness, a, b, torch.hypot(a, b))]
    return totals / pixels.shape[1]


def octave_power(image: Tensor, device: str = "cpu") -> np.ndarray:
    """Return the power of an image's luma in each octave of spatial frequency, in grey levels squared.

    The luma without its mean is multiplied by a Hann window, so that the image's borders do not count as edges. The
    power of rounding to whole numbers is added, so that an octave without any power has a ratio too.

    Args:
        image: (3, H, W) uint8.
        device: where it is computed.

    Returns:
        (OCTAVES,) float64, the finest octave first.
    """
    import torch

    height, width = image.shape[1:]
    masks, floor = _octaves(height, width, device)
    weights = torch.tensor(LUMA, dtype=torch.float32, device=device)
    luma = torch.einsum("c,chw->hw", weights, image.to(device).float())
    rows, columns = (torch.hann_window(n, dtype=torch.float32, device=device) for n in (height, width))
    window = rows[:, None] * columns
    mean = (luma * window).sum() / window.sum()  # so that nothing of it is left at the lowest frequencies
    spectrum = torch.fft.rfft2((luma - mean) * window)
    power = (spectrum.real**2 + spectrum.imag**2).double().flatten()
    total = height * width * float((window.double() ** 2).sum())
    return (masks @ power / total).cpu().numpy() + floor


@lru_cache(maxsize=4)
def _octaves(height: int, width: int, device: str) -> tuple[Tensor, np.ndarray]:
    """Return the octaves as masks over `rfft2`'s coefficients, and the power of rounding in each octave.

    Returns:
        (OCTAVES, number of coefficients) float64: 2 for a coefficient that stands for its complex conjugate too, 1 for
        another of the octave, else 0; and (OCTAVES,) float64.
    """
    import torch

    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    twice = np.full(radius.shape, 2.0)
    twice[:, 0] = 1
    if width % 2 == 0:
        twice[:, -1] = 1
    upper = [np.inf, *(2.0 ** -(k + 2) for k in range(OCTAVES))]  # 1/4, 1/8, ...
    masks = np.stack([twice * ((radius > low) & (radius <= high)) for high, low in pairwise(upper)])
    shares = np.maximum(masks.sum((1, 2)), 1) / (height * width)
    return torch.from_numpy(masks.reshape(OCTAVES, -1)).to(device), ROUNDING * shares
