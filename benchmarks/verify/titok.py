"""Kind `titok`: TiTok with the sizes of the set, in the first release's layout (legacy) and in the later one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import weights_of
from lactok.nn.maskgit_vqgan import MaskGITConfig
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.weights import load_strict

# The READMEs of the kind's sets suggest 1e-4 to 8e-4, about ten times the difference that each measured between two
# runs. This one value for all is above the largest of these differences, 7.7e-5, and far below what a mistake causes.
ATOL, RTOL = 2e-4, 1e-4


def config_of(values: dict[str, Any]) -> TiTokConfig:
    """Return the network's configuration from a set's config.json: the official one, with smaller sizes in `shrink`.

    Raises:
        NotBuilt: the quantizer is none of vector quantization.
    """
    shrink, vq = values["shrink"], values["config"]["model"]["vq_model"]
    mode = vq.get("quantize_mode", "vq")
    if mode != "vq":
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
    """Compare every output of the set, from the image to the decoded one."""
    model = TiTok(config_of(config)).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), checks.name)
    io = checks.tensors(folder / "io.safetensors")

    close = checks.close_to(io, ATOL, RTOL)
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
