"""`python -m benchmarks.speed.reference_lactok` times LaCTok as it was published against LaCTok as it is computed here.

The plain variant has the published structure: PEFT wraps the UNet, every cross-attention over 77 zero vectors and, at
every step, the embeddings of time and size are computed. The fast one is `lactok.nn.lactok.LaCTok`: the LoRA is merged,
cross-attention and upsampling are folded into other layers, embeddings are kept, and memory is channels_last. Both have
the same random weights, which go into the fast one through the conversion of a checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.measure import write_numbers
from lactok.command import Parser, command
from lactok.errors import WrongValue, check_output_file, integer, whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lactok.nn.lactok import LaCTok, LaCTokConfig

RANK = 64  # of the published LoRA
VARIANTS = ("plain", "fast", "fast, bfloat16")


def config(shape: str) -> LaCTokConfig:
    """Return the shape "full", that of the published model, or "small", SDXL's structure at a fifth of the width."""
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
    """Build the published decoder and VAE with modules of the same names as in the released checkpoint."""
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
    """Return a random tensor shaped as `like` that depends on its name alone; norms are the identity."""
    import torch

    from lactok.randomness import seed_of

    if like.ndim < 2:
        if "norm" in name and name.endswith("weight"):
            return torch.ones(like.shape)
        return torch.zeros(like.shape)
    generator = torch.Generator().manual_seed(seed_of("plain", name))
    scale = 0.3 if ".lora_B." in name else 1.0
    reach = scale * (3 / like[0].numel()) ** 0.5
    return torch.empty(like.shape).uniform_(-reach, reach, generator=generator)


def layers(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield names in groups, a layer with its LoRA: converting a checkpoint group by group needs little memory."""
    groups: dict[str, list[str]] = {}
    for name in names:
        stem = name.partition(".base_layer.")[0].partition(".lora_")[0]
        groups.setdefault(stem, []).append(name)
    yield from groups.values()


def load_plain(shape: LaCTokConfig) -> nn.Module:
    """Return the published structure with random weights."""
    import torch

    with torch.device("meta"):
        model = published(shape)
    model.load_state_dict({k: weight(k, v) for k, v in model.state_dict().items()}, assign=True)
    return model.eval().requires_grad_(False)


def load_fast(shape: LaCTokConfig, dtype: str, size: int) -> LaCTok:
    """Return the fast model with the same weights, for output of `size` pixels a side."""
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
    """Decode by the published pipeline, with its text embedding of zeros.

    Args:
        model: the published structure.
        code_map: (B, 8, S / 8, S / 8), the codes as a map.
        starts: the noise of each step, (B, 4, S / 8, S / 8) each.
        times: the time of each step.

    Returns:
        The image (B, 3, S, S).
    """
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
    """Decode by the fast model; the arguments are those of `plain_decode`."""
    from lactok.nn import samplers

    size = 8 * code_map.shape[-1]

    def predict(x: Tensor, t: int) -> Tensor:
        return model.decoder(x, t, code_map, size).float()

    return model.decode_latents(samplers.consistency(predict, starts, times))


def inputs(shape: LaCTokConfig, size: int, steps: int, device: str = "cpu") -> tuple[Tensor, list[Tensor]]:
    """Return a random code map and the noise of each step, for one image of `size` pixels a side."""
    import torch

    side = size // 8
    generator = torch.Generator().manual_seed(0)
    code_map = torch.nn.functional.normalize(torch.randn(1, 8, side, side, generator=generator))
    starts = [torch.randn(1, 4, side, side, generator=generator) for _ in range(steps)]
    return code_map.to(device), [s.to(device) for s in starts]


def measure(variant: str, shape_name: str, size: int, steps: int, repeats: int) -> dict[str, Any]:
    """Measure one variant in this process: CPU `seconds` an image, `peak` memory in bytes, and the `output` image."""
    import statistics
    import time

    import torch

    from benchmarks.speed.timing import peak_memory_bytes
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
    median = statistics.median(seconds[1:] or seconds)
    return {"seconds": median, "peak": peak_memory_bytes(), "output": output.float().numpy()}


def count(variant: str, shape_name: str, size: int, steps: int) -> dict[str, Any]:
    """Count the `parameters` of one variant, the bytes of its `weights` and its `flops`, on the meta device."""
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
    weights = 0
    for parameter in counted:
        bytes_a_value = 2 if half and parameter.ndim > 1 else 4  # biases and norms stay float32
        weights += bytes_a_value * parameter.numel()
    return {"parameters": sum(p.numel() for p in counted), "weights": weights, "flops": counter.get_total_flops()}


def measure_all(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measure every variant, each in its own process, so that the peak memory is that of one."""
    import numpy as np

    from lactok.evaluation.executors import worker_processes

    rows: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        with worker_processes(1) as submit:
            rows[variant] = submit(measure, variant, args.shape, args.size, args.steps, args.repeats).result()
            rows[variant] |= submit(count, variant, args.shape, args.size, args.steps).result()
        print(f"measured: {variant}, {rows[variant]['seconds']:.2f} CPU s", file=sys.stderr, flush=True)
    expected = rows["plain"]["output"]
    for row in rows.values():
        row["difference"] = float(np.abs(row.pop("output") - expected).max())
    return rows


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table with a line for each variant."""
    from tabulate import tabulate

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
    body = []
    for variant, row in rows.items():
        body.append(
            [
                variant,
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['weights'] / 1e9:.2f} GB",
                f"{row['peak'] / 1e9:.2f} GB",
                f"{row['flops'] / 1e12:.2f} T",
                f"{row['seconds']:.2f} s",
                f"{rows['plain']['seconds'] / row['seconds']:.2f}x",
                f"{row['difference']:.0e}",
            ]
        )
    return tabulate(body, head, tablefmt="pipe", disable_numparse=True)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of all variants and return 0."""
    parser = Parser(
        prog="python -m benchmarks.speed.reference_lactok",
        description="LaCTok's decoder as published against the fast one.",
    )
    about = "full is the published model: 17 GB of memory for the plain one (%(default)s)"
    parser.add_argument("--shape", choices=["small", "full"], default="small", help=about)
    parser.add_argument("--size", type=integer, default=512, help="side of the output in pixels (%(default)s)")
    parser.add_argument("--steps", type=integer, default=3, help="of TLCM's sampler, 1 to 4 (%(default)s)")
    parser.add_argument("--repeats", type=integer, default=3, help="timed calls after one to warm up; 0 times that one")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args(argv)
    check_output_file("json", args.json, ".json")
    whole("repeats", args.repeats, 0, 10**6)
    if whole("size", args.size, 64, 8192) % 8:
        raise WrongValue(f"`size` {args.size}: a multiple of 8")
    import torch

    from lactok.evaluation.writing import processor
    from lactok.nn.samplers import timesteps

    timesteps("tlcm", args.steps)  # refuses a number of steps that the sampler does not have
    rows = measure_all(args)
    machine = f"{processor()}, {torch.get_num_threads()} threads"
    print(f"{machine}, {args.shape} model, {args.size} px, {args.steps} steps, random weights\n")
    print(table(rows))
    write_numbers(rows, args.json)
    return 0


if __name__ == "__main__":
    main()
