"""VQModel of taming-transformers written plainly, from its state's own names: an oracle, and a maker of small sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

CONFIG: dict[str, Any] = {
    "n_embed": 64,
    "embed_dim": 8,
    "ddconfig": {
        "double_z": False,
        "z_channels": 16,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [64, 16],
        "dropout": 0.0,
    },
}


class Taming:
    """The network of a configuration with random weights, drawn where they are first asked for.

    Attributes:
        state: what was asked for, by official name: after one pass each way, the whole state.
    """

    def __init__(self, config: dict[str, Any], seed: int = 0):
        self.config, self.network = config, config["ddconfig"]
        self.state: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, name: str, *shape: int, around: float = 0.0) -> Tensor:
        if name not in self.state:
            fan_in = torch.Size(shape[1:]).numel() if len(shape) > 1 else 100
            self.state[name] = around + torch.randn(shape, generator=self.generator) / fan_in**0.5
        return self.state[name]

    def conv(self, name: str, x: Tensor, out: int, side: int = 3, **options: int) -> Tensor:
        weight = self.draw(f"{name}.weight", out, x.shape[1], side, side)
        return F.conv2d(x, weight, self.draw(f"{name}.bias", out), **{"padding": side // 2, **options})

    def norm(self, name: str, x: Tensor) -> Tensor:
        width = x.shape[1]
        weight, bias = self.draw(f"{name}.weight", width, around=1.0), self.draw(f"{name}.bias", width)
        return F.group_norm(x, 32, weight, bias, eps=1e-6)

    def block(self, name: str, x: Tensor, out: int) -> Tensor:
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)), out)
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)), out)
        return h + (self.conv(f"{name}.nin_shortcut", x, out, 1) if x.shape[1] != out else x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        width, h = x.shape[1], self.norm(f"{name}.norm", x)
        q, k, v = (self.conv(f"{name}.{part}", h, width, 1).flatten(2) for part in "qkv")
        weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * width**-0.5, -1)
        return x + self.conv(f"{name}.proj_out", torch.einsum("bcj,bij->bci", v, weights).view_as(x), width, 1)

    def middle(self, name: str, x: Tensor) -> Tensor:
        x = self.attention(f"{name}.attn_1", self.block(f"{name}.block_1", x, x.shape[1]))
        return self.block(f"{name}.block_2", x, x.shape[1])

    def encoder(self, x: Tensor) -> Tensor:
        n, resolution = self.network, self.network["resolution"]
        h = self.conv("encoder.conv_in", x, n["ch"])
        for i, factor in enumerate(n["ch_mult"]):
            for j in range(n["num_res_blocks"]):
                h = self.block(f"encoder.down.{i}.block.{j}", h, n["ch"] * factor)
                if resolution in n["attn_resolutions"]:
                    h = self.attention(f"encoder.down.{i}.attn.{j}", h)
            if i < len(n["ch_mult"]) - 1:
                h = self.conv(
                    f"encoder.down.{i}.downsample.conv", F.pad(h, (0, 1, 0, 1)), h.shape[1], stride=2, padding=0
                )
                resolution //= 2
        h = F.silu(self.norm("encoder.norm_out", self.middle("encoder.mid", h)))
        return self.conv("encoder.conv_out", h, n["z_channels"])

    def decode(self, z: Tensor) -> Tensor:
        n = self.network
        levels = len(n["ch_mult"])
        resolution = n["resolution"] // 2 ** (levels - 1)
        h = self.conv("post_quant_conv", z, n["z_channels"], 1)
        h = self.middle("decoder.mid", self.conv("decoder.conv_in", h, n["ch"] * n["ch_mult"][-1]))
        for i in reversed(range(levels)):
            for j in range(n["num_res_blocks"] + 1):
                h = self.block(f"decoder.up.{i}.block.{j}", h, n["ch"] * n["ch_mult"][i])
                if resolution in n["attn_resolutions"]:
                    h = self.attention(f"decoder.up.{i}.attn.{j}", h)
            if i:
                h = self.conv(f"decoder.up.{i}.upsample.conv", F.interpolate(h, scale_factor=2.0), h.shape[1])
                resolution *= 2
        return self.conv("decoder.conv_out", F.silu(self.norm("decoder.norm_out", h)), n["out_ch"])

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Every tensor of a reference set of kind `vqgan`."""
        features = self.encoder(image)
        z = self.conv("quant_conv", features, self.config["embed_dim"], 1)
        table = self.draw("quantize.embedding.weight", self.config["n_embed"], self.config["embed_dim"])
        ids = torch.cdist(z.flatten(2).transpose(1, 2), table[None]).argmin(-1).view(-1, *z.shape[2:])
        codes = table[ids].permute(0, 3, 1, 2)
        quantized = z + (codes - z)
        return {
            "image": image,
            "encoder_out": features,
            "pre_quant": z,
            "indices": ids,
            "indices_flat": ids.flatten(),
            "codebook_entry": codes,
            "quantized": quantized,
            "decoded_from_code": self.decode(codes),
            "decoded_from_quant": self.decode(quantized),
        }


def write_set(folder: Path, config: dict[str, Any] = CONFIG, **described: Any) -> Path:
    """A reference set of a configuration; `described` goes into its set.json."""
    made = Taming(config)
    outputs = made.outputs(torch.rand(2, 3, 32, 24, generator=made.generator) * 2 - 1)
    folder.mkdir(parents=True)
    save_file({k: v.contiguous().clone() for k, v in outputs.items()}, folder / "io.safetensors")
    save_file(made.state, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "set.json").write_text(json.dumps({"kind": "vqgan", "name": "made", **described}))
    return folder
