"""`python -m benchmarks.speed.reference_lactok`: LaCTok as it was published against LaCTok as it is computed here.

Plain is the published structure: the UNet wrapped by PEFT, every cross-attention over 77 zero vectors computed, the
embeddings of time and size computed at every step. Fast is `lactok.nn.lactok.LaCTok`: the LoRA merged, cross-attention
and upsampling folded, embeddings kept, channels_last. Both get the same random weights, through the same conversion
as a checkpoint.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.command import Parser, command
from lactok.errors import WrongValue, disk_errors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lactok.nn.lactok import LaCTok, LaCTokConfig

# the published LoRA changes layers whose names end so, with rank 64
RANK = 64
VARIANTS = ("plain", "fast", "fast, bfloat16")


def config(shape: str) -> LaCTokConfig:
    """`full` is the published model; `small` has SDXL's structure at a tenth of the width, for any machine."""
    from lactok.nn.lactok import SDXL_VAE, LaCTokConfig
    from lactok.nn.latent_decoder import SDXL_UNET, DecoderConfig
    from lactok.nn.vqgan import VQConfig

    if shape == "full":
        return LaCTokConfig()
    unet = dict(SDXL_UNET) | {
        "block_out_channels": [64, 128, 256],
        "transformer_layers_per_block": [1, 1, 2],
        "attention_head_dim": [1, 2, 4],
    }
    vae = dict(SDXL_VAE) | {"block_out_channels": [32, 32, 64, 64]}
    return LaCTokConfig(VQConfig(channels=32, usage_buffer=False), DecoderConfig(unet), vae)


def published(shape: LaCTokConfig) -> nn.Module:
    """The published module tree, so that its names are those of the released checkpoint."""
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from peft import LoraConfig, get_peft_model
    from torch import nn

    from lactok.nn.latent_decoder import ConditionEmbedding
    from lactok.training.accelerate import TARGETS

    unet = UNet2DConditionModel(**shape.decoder.unet)
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(8,), conditioning_channels=8, load_weights_from_unet=False
    )
    width = shape.decoder.unet["block_out_channels"][0]
    controlnet.controlnet_cond_embedding = ConditionEmbedding(8, shape.decoder.embedding, width)
    model = nn.Module()
    model.decoder = nn.Module()
    model.decoder.unet = get_peft_model(unet, LoraConfig(r=RANK, target_modules=list(TARGETS)))
    model.decoder.controlnet = controlnet
    model.vae = AutoencoderKL(**shape.vae)
    return model


def weight(name: str, like: Tensor) -> Tensor:
    """A random tensor that depends on its name alone; norms are the identity."""
    import torch

    from lactok.randomness import seed_of

    if like.ndim < 2:
        return torch.ones(like.shape) if "norm" in name and name.endswith("weight") else torch.zeros(like.shape)
    generator = torch.Generator().manual_seed(seed_of("plain", name))
    scale = 0.3 if ".lora_B." in name else 1.0
    reach = scale * (3 / like[0].numel()) ** 0.5
    return torch.empty(like.shape).uniform_(-reach, reach, generator=generator)


def layers(names: Sequence[str]) -> Iterator[list[str]]:
    """Names grouped so that a layer and its LoRA are together: converting group by group needs little memory."""
    groups: dict[str, list[str]] = {}
    for name in names:
        stem = name.partition(".base_layer.")[0].partition(".lora_")[0]
        groups.setdefault(stem, []).append(name)
    yield from groups.values()


def load_plain(shape: LaCTokConfig) -> nn.Module:
    import torch

    with torch.device("meta"):
        model = published(shape)
    model.load_state_dict({k: weight(k, v) for k, v in model.state_dict().items()}, assign=True)
    return model.eval().requires_grad_(False)


def load_fast(shape: LaCTokConfig, dtype: str, size: int) -> LaCTok:
    """The same weights, through the conversion of a checkpoint."""
    import torch

    from lactok.nn.lactok import LaCTok
    from lactok.nn.lactok_checkpoint import UNET, drop_cross_attention, merge_lora

    with torch.device("meta"):
        stored, model = published(shape).state_dict(), LaCTok(shape)
    found: dict[str, Tensor] = {}
    for names in layers(list(stored)):
        made = {k.replace(UNET, "decoder.unet.", 1): weight(k, stored[k]) for k in names}
        found |= drop_cross_attention(merge_lora(made))
    own = model.state_dict()
    unused = {k: torch.zeros(v.shape) for k, v in own.items() if not k.startswith(("decoder.", "vae."))}
    model.load_state_dict(found | unused, assign=True)
    model.eval().requires_grad_(False).optimize_for_inference(size)
    if dtype == "bfloat16":
        model.decoder.cast(torch.bfloat16)
    return model


def plain_decode(model: nn.Module, code_map: Tensor, starts: Sequence[Tensor], times: Sequence[int]) -> Tensor:
    """The published pipeline's steps, text of zeros included."""
    import torch

    from lactok.nn import samplers
    from lactok.nn.lactok import decode_latents
    from lactok.nn.latent_decoder import size_conditions

    unet: Any = model.get_submodule("decoder.unet")
    controlnet = model.get_submodule("decoder.controlnet")
    size = 8 * code_map.shape[-1]

    def predict(x: Tensor, t: int) -> Tensor:
        text = x.new_zeros(len(x), 77, unet.config["cross_attention_dim"])
        conditions, when = size_conditions(unet, size, x), torch.full((len(x),), t, device=x.device)
        down, middle = controlnet(x, when, text, code_map, added_cond_kwargs=conditions, return_dict=False)
        return unet(
            x,
            when,
            text,
            added_cond_kwargs=conditions,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]

    return decode_latents(model.get_submodule("vae"), samplers.consistency(predict, starts, times))


def fast_decode(model: Any, code_map: Tensor, starts: Sequence[Tensor], times: Sequence[int]) -> Tensor:
    from lactok.nn import samplers

    size = 8 * code_map.shape[-1]
    return model.decode_latents(
        samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size).float(), starts, times)
    )


def inputs(shape: LaCTokConfig, size: int, steps: int, device: str = "cpu") -> tuple[Tensor, list[Tensor]]:
    import torch

    side = size // 8
    generator = torch.Generator().manual_seed(0)
    code_map = torch.nn.functional.normalize(torch.randn(1, 8, side, side, generator=generator))
    starts = [torch.randn(1, 4, side, side, generator=generator) for _ in range(steps)]
    return code_map.to(device), [s.to(device) for s in starts]


def measure(variant: str, shape_name: str, size: int, steps: int, repeats: int) -> dict[str, Any]:
    """CPU seconds a picture, peak memory and the output of one variant, in a process of its own."""
    import resource
    import statistics
    import time

    import torch

    from lactok.nn.samplers import timesteps

    shape, times = config(shape_name), timesteps("tlcm", steps)
    dtype = "bfloat16" if variant.endswith("bfloat16") else "float32"
    model = load_plain(shape) if variant == "plain" else load_fast(shape, dtype, size)
    code_map, starts = inputs(shape, size, steps)

    def decode() -> Tensor:
        if variant == "plain":
            return plain_decode(model, code_map, starts, times)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            return fast_decode(model, code_map, starts, times)

    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.process_time()
            output = decode()
            seconds.append(time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": statistics.median(seconds[1:] or seconds), "peak": peak, "output": output.float().numpy()}


def count(variant: str, shape_name: str, size: int, steps: int) -> dict[str, Any]:
    """Parameters, bytes of the weights and FLOPs, on the meta device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lactok.nn.lactok import LaCTok
    from lactok.nn.samplers import timesteps

    shape, times = config(shape_name), timesteps("tlcm", steps)
    with torch.device("meta"):
        model = published(shape) if variant == "plain" else LaCTok(shape)
    model.requires_grad_(False)
    if isinstance(model, LaCTok):
        model.optimize_for_inference(size)
    code_map, starts = inputs(shape, size, steps, "meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if variant == "plain":
            plain_decode(model, code_map, starts, times)
        else:
            fast_decode(model, code_map, starts, times)
    counted = [p for k, p in model.named_parameters() if k.startswith(("decoder.", "vae."))]
    half = variant.endswith("bfloat16")
    weights = sum(p.numel() * (2 if half and p.ndim > 1 else 4) for p in counted)
    return {"parameters": sum(p.numel() for p in counted), "weights": weights, "flops": counter.get_total_flops()}


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m benchmarks.speed.reference_lactok",
        description="LaCTok's decoder as published against the fast one.",
    )
    about = "full is the published model: 17 GB of memory for the plain one (%(default)s)"
    parser.add_argument("--shape", choices=["small", "full"], default="small", help=about)
    parser.add_argument("--size", type=int, default=512, help="side of the output in pixels (%(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="of TLCM's sampler, 1 to 4 (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls after one to warm up; 0 times that one")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    if args.size < 64 or args.size % 8:
        raise WrongValue(f"`size` {args.size}: a multiple of 8, 64 or more")
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import numpy as np
    import torch
    from tabulate import tabulate

    from lactok.evaluation.writing import processor
    from lactok.nn.samplers import timesteps

    timesteps("tlcm", args.steps)
    rows: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:  # a process each: its memory is its own
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows[variant] = pool.submit(measure, variant, args.shape, args.size, args.steps, args.repeats).result()
            rows[variant] |= pool.submit(count, variant, args.shape, args.size, args.steps).result()
        print(f"measured: {variant}, {rows[variant]['seconds']:.2f} CPU s", file=sys.stderr, flush=True)
    plain = rows["plain"]
    body = []
    for variant, row in rows.items():
        row["difference"] = float(np.abs(row.pop("output") - plain["output"]).max()) if variant != "plain" else 0.0
        body.append(
            [
                variant,
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['weights'] / 1e9:.2f} GB",
                f"{row['peak'] / 1e9:.2f} GB",
                f"{row['flops'] / 1e12:.2f} T",
                f"{row['seconds']:.2f} s",
                f"{plain['seconds'] / row['seconds']:.2f}x",
                f"{row['difference']:.0e}",
            ]
        )
    plain.pop("output")
    machine = f"{processor()}, {torch.get_num_threads()} threads"
    print(f"{machine}, {args.shape} model, {args.size} px, {args.steps} steps, random weights\n")
    head = [
        "decoder",
        "parameters",
        "weights",
        "peak memory",
        "FLOPs",
        "decode, CPU",
        "plain / it",
        "largest difference",
    ]
    print(tabulate(body, head, tablefmt="pipe", disable_numparse=True))
    if args.json:
        with disk_errors(args.json):
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    main()
