"""Published weights that trainings start from or use: SDXL, Hyper-SD's UNet, TLCM's LoRA, small text encoders."""

from __future__ import annotations

from lactok.nn.continuous import SDXL, SDXL_REVISION, SDXL_VAE_FILE
from lactok.specs import Asset, Hub

SDXL_LICENSE = SDXL_VAE_FILE.license
TLCM = "OPPOer/TLCM"
TLCM_LICENSE = "its authors' terms (hub OPPOer/TLCM)"
TRAINING_ASSETS = (
    Asset(
        "sdxl-unet",
        SDXL_LICENSE,
        (Hub(SDXL, "unet/diffusion_pytorch_model.safetensors", revision=SDXL_REVISION),),
        size=10_270_000_000,
    ),
    SDXL_VAE_FILE,
    Asset(
        "hyper-sdxl-1step-unet",
        SDXL_LICENSE,
        (Hub("ByteDance/Hyper-SD", "Hyper-SDXL-1step-Unet.safetensors"),),
        size=5_140_000_000,
    ),
    # Its authors' code loads it with PEFT, which writes these names; which of the two endings it has is not stated.
    Asset(
        "tlcm-sdxl-lora",
        TLCM_LICENSE,
        (Hub(TLCM, "adapter_model.safetensors"), Hub(TLCM, "adapter_model.bin")),
        size=790_000_000,
    ),
    Asset("tlcm-sdxl-lora-config", TLCM_LICENSE, (Hub(TLCM, "adapter_config.json"),), size=2_000),
)
# the smaller relatives of flan-t5-xl, for small generators; the files were not opened here
FLAN_T5 = {
    name: (
        Asset(name, "Apache-2.0", (Hub(f"google/{name}", "model.safetensors"),), "lactok.nn.t5:convert", size),
        Asset(f"{name}-tokenizer", "Apache-2.0", (Hub(f"google/{name}", "tokenizer.json"),), size=2_420_000),
    )
    for name, size in (("flan-t5-small", 308_000_000), ("flan-t5-base", 990_000_000))
}


def assets() -> dict[str, tuple[Asset, ...]]:
    """Return the weight files that trainings need, for `python -m lactok.weights list`."""
    small = tuple(asset for files in FLAN_T5.values() for asset in files)
    return {"training LaCTok": TRAINING_ASSETS, "training a small generator": small}
