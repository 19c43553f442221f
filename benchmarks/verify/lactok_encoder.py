"""Kind `lactok_encoder`: LlamaGen's encoder at other sizes than 256, with the training's resize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.verify.checks import Checks
from lactok.nn.lactok import resize
from lactok.nn.vqgan import VQConfig, VQModel


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    stored = load_file(next(folder.glob("weights*.safetensors")))
    model = VQModel(VQConfig(channels=32, z_channels=32)).eval()
    own = model.state_dict()
    used = {k: stored[k].float() if k in stored else own[k] for k in own}  # the set has no pixel decoder
    missing = [k for k in own if k.startswith(("encoder.", "quant_conv.", "quantize.embedding")) and k not in stored]
    checks.equal("tensors missing in the set", missing, [], "none")
    model.load_state_dict(used)
    io = load_file(folder / "tensors.safetensors")
    checks.skip("image", "the input")
    threads = torch.get_num_threads()
    for size in sorted({int(k.split("/")[0]) for k in io if "/" in k}):
        torch.set_num_threads(1)  # torch's interpolation differs by 2e-6 when it is split over threads
        resized = resize(io["image"], size)
        torch.set_num_threads(threads)
        checks.close(f"{size}/resized", resized, io[f"{size}/resized"], 1e-6)
        features = model.encode_features(io[f"{size}/resized"])
        checks.close(f"{size}/pre_quant", features, io[f"{size}/pre_quant"], 2e-5)
        ids = model.quantize.encode(features)
        checks.close(f"{size}/indices", ids, io[f"{size}/indices"], 0)
        checks.close(f"{size}/quant", model.quantize.straight_through(features, ids), io[f"{size}/quant"], 1e-6)
        checks.close(f"{size}/get_quant", model.quantize.lookup(ids), io[f"{size}/get_quant"], 1e-6)
        checks.skip(f"{size}/margin", "how clear the choice of ids is")
    checks.finish(io)
