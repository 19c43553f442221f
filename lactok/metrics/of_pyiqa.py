"""Use the metrics of the library pyiqa (IQA-PyTorch), by the key `pyiqa-NAME`.

Metrics with a reference compare each pair of images; those without look at the reconstruction alone. Images are float32
in [0, 1], one pair at a time, as many networks of the library do not give the same numbers in a batch. The library
fetches the weights of its networks itself, before a run.
"""

from __future__ import annotations

import importlib.util
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.errors import WeightsNotFound, WrongValue, unknown
from lactok.extras import MissingPackage
from lactok.metrics.registry import PYIQA, ImageMetric

if TYPE_CHECKING:
    from torch import Tensor, nn

INSTALL = "pip install 'lactok[pyiqa]'"
OF_FOLDERS = ("fid", "sfid", "fid_dinov2", "inception_score")  # which look at folders of images, not at pairs


@lru_cache(maxsize=64)
def by_name(key: str) -> ImageMetric:
    """Return the metric of a key `pyiqa-NAME`, NAME as `pyiqa.list_models()` has it; `+` is written as it is.

    Raises:
        MissingPackage: pyiqa is not installed.
        UnknownName: it has no such metric.
        WrongValue: the metric looks at sets of images, or at something else than images.
    """
    name = key.removeprefix(PYIQA)
    known = settings()
    if name not in known:
        raise unknown("metric of pyiqa", name, known)
    mode = known[name].get("metric_mode")
    if name in OF_FOLDERS or mode not in ("FR", "NR"):
        raise WrongValue(f"metric {key} does not compare images one by one; rfid, fd_dinov2 and cmmd compare sets")
    return ImageMetric(
        key=key,
        title=name,
        higher=not known[name].get("lower_better", False),
        own=False,
        libraries=("pyiqa",),
        compute=_PyiqaMetric(key, has_reference=mode == "FR"),
        check=_Check(key),
    )


@lru_cache(maxsize=1)
def settings() -> Mapping[str, Mapping[str, Any]]:
    """Return pyiqa's metrics by name, each with its `metric_mode` ("FR" with a reference, "NR") and `lower_better`.

    They are read from the library's file, since importing the library takes many seconds.

    Raises:
        MissingPackage: pyiqa is not installed.
    """
    found = importlib.util.find_spec("pyiqa")
    if found is None or not found.submodule_search_locations:
        raise MissingPackage(f"metrics pyiqa-... need the package pyiqa; install it with: {INSTALL}", "pyiqa")
    file = Path(found.submodule_search_locations[0]) / "default_model_configs.py"
    read: Mapping[str, Mapping[str, Any]] = runpy.run_path(str(file))["DEFAULT_CONFIGS"]
    return read


@lru_cache(maxsize=4)
def network(key: str, device: str) -> nn.Module:
    """Return the network of a metric on a device.

    Raises:
        WeightsNotFound: the library cannot fetch its weights, or make it for another reason.
    """
    import pyiqa
    import torch

    name = key.removeprefix(PYIQA)
    try:
        with torch.inference_mode(False):
            made: nn.Module = pyiqa.create_metric(name, device=device)
    except MemoryError:
        raise
    except Exception as error:  # whatever the library's downloads and networks raise
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise WeightsNotFound(f"pyiqa cannot make its metric {name}: {text}") from error
    return made


@dataclass(frozen=True)
class _Check:
    """Makes the network of a metric, so that one that cannot be had is noticed before a run."""

    key: str

    def __call__(self) -> None:
        network(self.key, "cpu")


@dataclass(frozen=True)
class _PyiqaMetric:
    """Computes a metric of pyiqa; an instance is an `ImageMetric.compute`."""

    key: str
    has_reference: bool

    def __call__(self, references: Tensor, outputs: Tensor, device: str = "cpu") -> Tensor:
        """Return one value for each pair of uint8 images (B, 3, H, W), (B,) float64."""
        import torch

        from lactok.metrics.of_torchmetrics import as_wrong_value, fixed_seed

        made = network(self.key, device)
        values = []
        for reference, output in zip(references, outputs, strict=True):
            images = [output[None].to(device).float() / 255]
            if self.has_reference:
                images.append(reference[None].to(device).float() / 255)
            with as_wrong_value(self.key, "cannot compare these images"), fixed_seed():
                value = torch.as_tensor(made(*images))
            if value.numel() != 1:
                raise WrongValue(f"metric {self.key} gives more than one number an image")
            values.append(value.double().reshape(()).cpu())
        return torch.stack(values)
