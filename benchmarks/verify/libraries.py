"""The metrics as the libraries that define them compute them, for `benchmarks.verify.oracles`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 256  # pixels
QUALITY = 12  # of the JPEG files
SSIM_ATOL = 5e-6  # scikit-image computes in float64, this project in float32; as in the reference set `metrics`


class Inputs:
    """What the metrics are computed on.

    Attributes:
        references: photographs (N, 3, 256, 256) uint8.
        outputs: the same after JPEG compression.
    """

    def __init__(self, limit: int):
        import io

        import numpy as np
        from PIL import Image

        from lactok import images
        from lactok.evaluation import datasets
        from lactok.evaluation.reconstruction import stack

        how = images.Prepare(SIDE)
        references, outputs = [], []
        for sample in datasets.get("sample", limit=limit).samples:
            reference = images.prepare(sample.open(), how)
            file = io.BytesIO()
            Image.fromarray(reference).save(file, "JPEG", quality=QUALITY)
            references.append(reference)
            outputs.append(np.asarray(Image.open(file)))
        self.references, self.outputs = stack(references), stack(outputs)

    @property
    def in_unit_range(self) -> tuple[Tensor, Tensor]:
        """Both as float32 in [0, 1]."""
        return self.references.float() / 255, self.outputs.float() / 255

    @property
    def arrays(self) -> list[tuple[Any, Any]]:
        """Pairs of images (256, 256, 3) float64 in [0, 1], as scikit-image takes them."""
        both = (t.permute(0, 2, 3, 1).double().numpy() / 255 for t in (self.references, self.outputs))
        return list(zip(*both, strict=True))

    @cached_property
    def features(self) -> tuple[Any, Any]:
        """Inception's features (N, 2048) float32 of both."""
        from lactok.metrics.inception_features import INCEPTION_TF1

        return INCEPTION_TF1.compute(self.references, "cpu"), INCEPTION_TF1.compute(self.outputs, "cpu")

    @cached_property
    def normal(self) -> tuple[Any, Any]:
        """Two sets of normal numbers, (400, 32) and (300, 32), whose means and spreads differ."""
        import numpy as np

        rng = np.random.default_rng(0)
        return rng.normal(size=(400, 32)), rng.normal(0.3, 1.2, size=(300, 32))


@dataclass(frozen=True)
class Oracle:
    """A comparison with a library.

    Attributes:
        what: what is compared.
        package: the library's package.
        tolerance: the largest deviation that the tests allow.
        relative: whether deviations are divided by the library's value.
        values: from the inputs, this project's values and the library's.
    """

    what: str
    package: str
    tolerance: float
    relative: bool
    values: Callable[[Inputs], tuple[Any, Any]]

    def deviation(self, inputs: Inputs) -> float:
        """Return the largest deviation."""
        import numpy as np

        ours, theirs = (np.asarray(values, np.float64) for values in self.values(inputs))
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        difference = np.abs(ours - theirs)
        return float((difference / np.abs(theirs) if self.relative else difference).max())


ORACLES: list[Oracle] = []
Values = Callable[[Inputs], tuple[Any, Any]]


def oracle(what: str, package: str, tolerance: float, relative: bool = False) -> Callable[[Values], Values]:
    """Return a decorator that adds a comparison to `ORACLES`; the arguments are those of `Oracle`."""

    def add(values: Values) -> Values:
        ORACLES.append(Oracle(what, package, tolerance, relative, values))
        return values

    return add


@oracle("psnr", "scikit-image", 1e-12, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.metrics import peak_signal_noise_ratio

    from lactok.metrics.psnr import psnr

    theirs = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in inputs.arrays]
    return psnr(inputs.references, inputs.outputs), theirs


@oracle("ssim (Gaussian window)", "scikit-image", SSIM_ATOL)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.metrics import structural_similarity as theirs

    from lactok.metrics.ssim import ssim

    how = {"channel_axis": -1, "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5}
    values = [theirs(a, b, use_sample_covariance=False, **how) for a, b in inputs.arrays]
    return ssim(inputs.references, inputs.outputs), values


@oracle("ssim_uniform7", "scikit-image", SSIM_ATOL)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.metrics import structural_similarity as theirs

    from lactok.metrics.ssim import ssim_uniform7

    values = [theirs(a, b, channel_axis=-1, data_range=1.0) for a, b in inputs.arrays]
    return ssim_uniform7(inputs.references, inputs.outputs), values


@oracle("ssim_range2 (LlamaGen's)", "scikit-image", SSIM_ATOL)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.metrics import structural_similarity as theirs

    from lactok.metrics.ssim import ssim_range2

    values = [theirs(a, b, channel_axis=-1, data_range=2.0) for a, b in inputs.arrays]
    return ssim_range2(inputs.references, inputs.outputs), values


@oracle("ssim with reflected edges", "torchmetrics", 1e-5)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from torchmetrics.functional.image import structural_similarity_index_measure as theirs

    from lactok.metrics.ssim import structural_similarity

    pair = inputs.in_unit_range
    first, second = (images.double() for images in pair)
    return structural_similarity(*pair, reflect=True), theirs(first, second, data_range=1.0, reduction="none")


@oracle("ms_ssim", "torchmetrics", 1e-5)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    from lactok.metrics.ms_ssim import ms_ssim

    first, second = (images.double() for images in inputs.in_unit_range)
    values = theirs(first, second, data_range=1.0, normalize=None, reduction="none")
    return ms_ssim(inputs.references, inputs.outputs), values


@oracle("psnr_pooled", "torchmetrics", 1e-5)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from torchmetrics.image import PeakSignalNoiseRatio

    from lactok.metrics.psnr import pooled, psnr_pooled

    theirs = PeakSignalNoiseRatio(data_range=1.0)
    theirs.update(*(images.double() for images in inputs.in_unit_range))
    return pooled([psnr_pooled(inputs.references, inputs.outputs)]), theirs.compute()


@oracle("delta_e (CIEDE2000)", "scikit-image", 1e-4)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.color import deltaE_ciede2000, rgb2lab

    from lactok.metrics.colour import delta_e

    theirs = [deltaE_ciede2000(rgb2lab(a), rgb2lab(b)).mean() for a, b in inputs.arrays]
    return delta_e(inputs.references, inputs.outputs), theirs


@oracle("lightness_shift", "scikit-image", 1e-4)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from skimage.color import rgb2lab

    from lactok.metrics.colour import lightness_shift

    theirs = [abs(rgb2lab(b)[..., 0].mean() - rgb2lab(a)[..., 0].mean()) for a, b in inputs.arrays]
    return lightness_shift(inputs.references, inputs.outputs), theirs


def _lpips(net: Any, inputs: Inputs) -> tuple[Any, Any]:
    """Return LPIPS and that of the package `lpips`, with its heads and this project's backbone."""
    import lpips

    from lactok.metrics.registry import ImageMetric, find
    from lactok.nn.lpips import load_lpips

    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    theirs.net.load_state_dict(load_lpips(net).model.net.state_dict())
    metric = find(f"lpips_{net}")
    assert isinstance(metric, ImageMetric)
    pair = [2 * images - 1 for images in inputs.in_unit_range]
    return metric.compute(inputs.references, inputs.outputs, "cpu"), theirs(*pair).flatten()


@oracle("lpips_alex", "lpips", 1e-5, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    return _lpips("alex", inputs)


@oracle("lpips_vgg", "lpips", 1e-5, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    return _lpips("vgg", inputs)


@oracle("Inception features", "torch-fidelity", 1e-5)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import tempfile

    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from lactok.nn.inception import inception

    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}  # the features do not need it
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "inception.pth"))
        torch.save(dict(inception().state_dict()) | head, path)
        theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=path)
    return inputs.features[0], theirs(inputs.references)[0]


@oracle("rfid, singular covariances", "torch-fidelity", 1e-4, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import numpy as np
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    from lactok.metrics.frechet import frechet

    statistics = []
    for features in inputs.features:
        exact = features.astype(np.float64)
        statistics.append({"mu": exact.mean(0), "sigma": np.cov(exact, rowvar=False)})
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    return frechet([inputs.features[0]], [inputs.features[1]]), theirs


@oracle("Frechet distance, full covariances", "scipy", 1e-6, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import numpy as np
    from scipy.linalg import sqrtm

    from lactok.metrics.frechet import frechet

    x, y = inputs.normal
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    theirs = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    return frechet([x], [y]), theirs


@oracle("kid", "torch-fidelity", 1e-9, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    from lactok.metrics.kid import kid

    x, y = (features[: len(inputs.normal[1])] for features in inputs.normal)
    how = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    k_xx, k_yy, k_xy = (kernel_poly(a, b, **how) for a, b in ((x, x), (y, y), (x, y)))
    return kid([x], [y]), mmd2(k_xx, k_xy, k_yy, mmd_est="unbiased")


@oracle("rfid without each of 20 groups", "scipy", 1e-6, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import numpy as np
    from scipy.linalg import sqrtm

    from lactok.metrics.grouped import Grouping, frechet_leaving_out

    x, y = (features[:300] for features in inputs.normal)
    groups = np.arange(300) % 20
    theirs = []
    for group in range(20):
        a, b = x[groups != group], y[groups != group]
        s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
        theirs.append(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real))
    return frechet_leaving_out([x], [y], Grouping(20, groups, groups)).without, theirs


@oracle("precision and recall", "torch-fidelity", 1e-7)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    from lactok.metrics.precision_recall import precision, recall

    x, y = inputs.normal
    theirs = calculate_precision_recall_full(torch.from_numpy(y), torch.from_numpy(x), 3)
    return [precision([x], [y]), recall([x], [y])], theirs


@oracle("inception_score", "torch-fidelity", 1e-10, relative=True)
def _(inputs: Inputs) -> tuple[Any, Any]:
    import numpy as np
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    from lactok.metrics.inception_score import score

    x, classifier = inputs.normal[0], np.random.default_rng(1).normal(size=(30, 32))
    theirs = isc_features_to_metric(torch.from_numpy(x @ classifier.T), 10, True, 2020)["inception_score_mean"]
    return score([x], classifier), theirs
