"""Kind `titok`: both layouts of TiTok at the set's widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.maskgit_vqgan import MaskGITConfig
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.weights import load_strict

# The READMEs of the kind's sets propose 1e-4 to 8e-4, about ten times what each saw between two runs. One value for
# all lies above the largest difference that any of them saw, 7.7e-5, and not near what a mistake makes.
ATOL, RTOL = 2e-4, 1e-4


def config_of(values: dict[str, Any]) -> TiTokConfig:
    """Upstream's configuration with the set's own size table."""
    shrink, vq = values["shrink"], values["config"]["model"]["vq_model"]
    if (mode := vq.get("quantize_mode", "vq")) != "vq":
        raise NotBuilt(f"quantize_mode {mode}")
    size = (shrink["width"], shrink["layers"], shrink["heads"])
    pixel = MaskGITConfig(
        shrink["pix_hidden"], tuple(shrink["pix_mult"]), shrink["pix_res"], shrink["pix_z"], shrink["pix_emb"]
    )
    return TiTokConfig(
        size,
        size,
        vq["num_latent_tokens"],
        vq["codebook_size"],
        vq["token_size"],
        vq["use_l2_norm"],
        vq.get("is_legacy", True),
        values["config"]["dataset"]["preprocessing"]["crop_size"],
        vq["vit_enc_patch_size"],
        pixel,
    )


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    model = TiTok(config_of(config)).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")

    def close(name: str, actual: torch.Tensor) -> None:
        checks.close(name, actual, io[name], checks.atol(ATOL), checks.rtol(RTOL))

    checks.skip("image", "the input")
    features = model.encode_features(io["image"])
    close("encoder_out", features)
    ids = model.encode(io["image"])
    checks.close("indices", ids[:, None], io["indices"], 0)
    close("quantized", model.quantize.straight_through(features, ids[:, None]))
    out = model.decoder(io["quantized"])
    close("decoder_out_logits_or_rgb", out)
    if model.config.legacy:
        close("soft_pixel_embedding", model.soft_pixel_codes(out))
    close("decoded_from_quantized", model.decode_features(io["quantized"]))
    decoded = model.decode(io["indices"][:, 0])
    close("decoded_from_tokens", decoded)
    close("decoded_clamped", decoded.clamp(0, 1))
    checks.finish(io)
