"""Kind `lactok_decoder`: LaCTok's decoder, samplers and both stages' losses, LoRA merged and cross-attention folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.verify.checks import Checks
from lactok.nn import samplers
from lactok.nn.lactok import LaCTok, LaCTokConfig
from lactok.nn.lactok_checkpoint import UNET, drop_cross_attention, merge_lora
from lactok.nn.latent_decoder import DecoderConfig
from lactok.nn.vqgan import VQConfig
from lactok.weights import load_strict

# the set's README: absolute for float32, relative to the tensor's own maximum for gradients
EPS, LATENT, IMAGE, INTER, GRADIENT, LOSS = 3e-6, 5e-5, 1e-5, 1e-5, 1e-4, 1e-5
OTHER_PARTS = ("encoder.", "quantize.", "quant_conv.", "post_quant_conv.")


def build(config: dict[str, Any], stored: dict[str, Tensor], lora: bool) -> LaCTok:
    """The model of the set with or without its accelerator."""
    shape = LaCTokConfig(VQConfig(channels=32, channel_mult=(1, 1), z_channels=32, usage_buffer=False),
                         DecoderConfig(config["unet"]), config["vae"])  # fmt: skip
    model = LaCTok(shape)
    tensors = {k.replace(UNET, "decoder.unet.", 1): v.float() for k, v in stored.items()}
    tensors = drop_cross_attention(merge_lora(tensors, config["lora"]["scaling"] if lora else 0.0))
    parts = {k: v for k, v in tensors.items() if not k.startswith(OTHER_PARTS)}
    own = {k: v for k, v in model.state_dict().items() if k.startswith(OTHER_PARTS)}  # the set has no encoder
    load_strict(model, own | parts | {"quantize.embedding.weight": tensors["quantize.embedding.weight"]}, "lactok")
    model.eval().requires_grad_(False).speed_up(config["image_size"])  # as the tokenizers compute
    return model


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    stored, io = load_file(folder / "weights_fp16.safetensors"), load_file(folder / "tensors.safetensors")
    fast, plain = (build(config, stored, lora) for lora in (True, False))
    checks.close("alphas_cumprod", samplers.alphas_cumprod(), io["alphas_cumprod"], 1e-6)
    size = config["image_size"]
    with torch.inference_mode():
        for name, case in config["cases"].items():
            _decode(fast, io, name, case["cs"], size, checks)
        first = next(iter(config["cases"]))
        _inside(fast, plain, io, first, size, checks)
        _one_step(fast, io, first, size, checks)
    _training(fast, plain, io, config, checks)
    checks.finish(io)


def _decode(model: LaCTok, io: dict[str, Tensor], name: str, scale: float, size: int, checks: Checks) -> None:
    def stored(key: str) -> Tensor:
        return io[f"decode/{name}/{key}"]

    def close(key: str, actual: Tensor, atol: float) -> None:
        checks.close(f"decode/{name}/{key}", actual, stored(key), atol)

    ids = stored("code_idx").long()
    close("quant", model.quantize.lookup(ids), 1e-6)
    code_map = model.code_map(ids, size)
    noises = [stored(f"noise{i}") for i in range(3)]
    checks.skip(f"decode/{name}/code_idx", "an input")
    x = noises[0]
    for i, t in enumerate(samplers.TLCM[3]):
        checks.skip(f"decode/{name}/noise{i}", "an input")
        close(f"x{i}", x, LATENT)
        epsilon = model.decoder(stored(f"x{i}"), t, code_map, size, scale)
        close(f"eps{i}", epsilon, EPS)
        clean = samplers.clean_of(stored(f"x{i}"), epsilon, t)
        close(f"denoised{i}", clean, LATENT)
        if i < 2:
            x = samplers.add_noise(clean, noises[i + 1], samplers.TLCM[3][i + 1])
    latents = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size, scale), noises, samplers.TLCM[3])
    close("latent_final", latents, LATENT)
    image = model.decode_latents(stored("latent_final")).clamp(-1, 1)
    close("image_clipped", image, IMAGE)
    levels = (255 * (0.5 * image + 0.5).clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1)
    close("image_u8", levels.int(), 1)


def _inside(fast: LaCTok, plain: LaCTok, io: dict[str, Tensor], name: str, size: int, checks: Checks) -> None:
    decoder = fast.decoder
    found: dict[str, Tensor] = {}
    hooks = [
        decoder.controlnet.controlnet_cond_embedding.register_forward_hook(_keep(found, "cn_cond_embedding")),
        decoder.controlnet.time_embedding.register_forward_hook(_keep(found, "cn_time_emb")),
        decoder.controlnet.add_embedding.register_forward_hook(_keep(found, "cn_add_emb")),
        decoder.unet.time_embedding.register_forward_hook(_keep(found, "unet_time_emb")),
        decoder.unet.add_embedding.register_forward_hook(_keep(found, "unet_add_emb")),
        decoder.unet.conv_in.register_forward_hook(_keep(found, "unet_conv_in")),
        decoder.unet.mid_block.register_forward_hook(_keep(found, "unet_mid_before_residual")),
    ]
    x = io[f"decode/{name}/x0"]
    code_map = fast.code_map(io[f"decode/{name}/code_idx"].long(), size)
    found["cond_nearest"] = code_map
    decoder(x, 999, code_map, size)
    down, middle = decoder.residuals(x, 999, code_map, size)
    found |= {f"cn_res_down{i}": residual for i, residual in enumerate(down)} | {"cn_res_mid": middle}
    for hook in hooks:
        hook.remove()
    for key, value in found.items():
        checks.close(f"inter/{key}", value[:1], io[f"inter/{key}"], INTER)
    checks.close("inter/eps0_no_lora", plain.decoder(x, 999, code_map, size), io["inter/eps0_no_lora"], EPS)


def _keep(found: dict[str, Tensor], name: str) -> Any:
    def hook(module: torch.nn.Module, inputs: object, output: Tensor) -> None:
        found[name] = output

    return hook


def _one_step(model: LaCTok, io: dict[str, Tensor], name: str, size: int, checks: Checks) -> None:
    x = io[f"decode/{name}/x0"]
    code_map = model.code_map(io[f"decode/{name}/code_idx"].long(), size)
    epsilon = model.decoder(x, 800, code_map, size)
    checks.close("onestep/eps_t800", epsilon, io["onestep/eps_t800"], EPS)
    clean = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size), [x], samplers.HYPER_SD)
    checks.close("onestep/x0_t800", clean, io["onestep/x0_t800"], LATENT)
    checks.close("onestep/lcm_t800_denoised", clean, io["onestep/lcm_t800_denoised"], LATENT)
    epsilon = model.decoder(x, 999, code_map, size)
    checks.close("onestep/tcd_eps", epsilon, io["onestep/tcd_eps"], EPS)
    stepped = samplers.tcd_step(x, epsilon, 999)
    checks.close("onestep/tcd_eta1_prev_sample", stepped, io["onestep/tcd_eta1_prev_sample"], LATENT)


def _training(fast: LaCTok, plain: LaCTok, io: dict[str, Tensor], config: dict[str, Any], checks: Checks) -> None:
    """Losses and gradients of both stages; squared error stands for LPIPS, as in the set."""
    size = config["image_size"]
    for name in ("train/code_idx", "train/image", "train/vae_noise", "stage1/noise", "stage2/noise0", "stage2/noise1"):
        checks.skip(name, "an input")
    mean, logvar = fast.posterior(io["train/image"])
    checks.close("train/vae_mean", mean, io["train/vae_mean"], LATENT)
    checks.close("train/vae_logvar", logvar, io["train/vae_logvar"], LATENT)
    checks.close("train/latent", fast.latents(io["train/image"], io["train/vae_noise"]), io["train/latent"], LATENT)
    quant = fast.quantize.lookup(io["train/code_idx"].long())
    checks.close("train/quant", quant, io["train/quant"], 1e-6)

    def mapped(model: LaCTok) -> tuple[Tensor, Tensor]:
        model.decoder.controlnet.requires_grad_(True).zero_grad()
        codes = quant.clone().requires_grad_(True)
        side = size // model.config.latent_down
        return codes, F.interpolate(codes, (side, side), mode="nearest")

    codes, code_map = mapped(plain)
    t = torch.tensor(config["stage1"]["timesteps"])
    x = samplers.add_noise(io["train/latent"], io["stage1/noise"], t)
    checks.close("stage1/x_t", x, io["stage1/x_t"], EPS)
    epsilon = plain.decoder(x, t, code_map, size)
    checks.close("stage1/eps", epsilon, io["stage1/eps"], EPS)
    _gradients("stage1", F.mse_loss(epsilon, io["stage1/noise"]), plain, codes, io, config, checks)

    codes, code_map = mapped(fast)
    first, second = samplers.TLCM[2]
    with torch.no_grad():
        epsilon = fast.decoder(io["stage2/noise0"], first, code_map, size)
        clean = samplers.clean_of(io["stage2/noise0"], epsilon, first)
        x = samplers.add_noise(clean, io["stage2/noise1"], second)
    checks.close("stage2/eps0", epsilon, io["stage2/eps0"], EPS)
    checks.close("stage2/denoised0", clean, io["stage2/denoised0"], LATENT)
    checks.close("stage2/x1", x, io["stage2/x1"], LATENT)
    epsilon = fast.decoder(x, second, code_map, size)
    checks.close("stage2/eps1", epsilon, io["stage2/eps1"], EPS)
    clean = samplers.clean_of(x, epsilon, second)
    checks.close("stage2/denoised1", clean, io["stage2/denoised1"], LATENT)
    image = fast.decode_latents(clean)
    checks.close("stage2/image_out", image, io["stage2/image_out"], IMAGE)
    _gradients("stage2", F.mse_loss(image, io["train/image"]), fast, codes, io, config, checks)

    codes, code_map = mapped(fast)
    start, t0 = io["stage2/noise0"], samplers.HYPER_SD[0]
    clean = samplers.clean_of(start, fast.decoder(start, t0, code_map, size), t0)
    checks.close("stage2_onestep/denoised", clean, io["stage2_onestep/denoised"], LATENT)
    loss = F.mse_loss(fast.decode_latents(clean), io["train/image"])
    _gradients("stage2_onestep", loss, fast, codes, io, config, checks)


def _gradients(
    stage: str, loss: Tensor, model: LaCTok, codes: Tensor, io: dict[str, Tensor], config: dict[str, Any],
    checks: Checks,
) -> None:  # fmt: skip
    expected = config[stage]
    stored_loss = expected.get("loss", config.get("losses", {}).get(stage))
    if stored_loss is not None:
        checks.close(f"{stage} loss", loss, stored_loss, 0, LOSS)
    loss.backward()
    named = dict(model.decoder.controlnet.named_parameters())
    for name, norm in expected["grad_norms"].items():
        if name in named:
            gradient = named[name].grad
            assert gradient is not None
            checks.close(f"{stage} |grad {name}|", gradient.norm(), norm, 1e-9, GRADIENT)
        else:
            checks.equal(f"{stage} |grad {name}|", norm, 0.0, "0: folded away")
    for key in (k for k in io if k.startswith(f"{stage}/grad")):
        gradient = codes.grad if key.endswith("grad_quant") else named[key.removeprefix(f"{stage}/grad/")].grad
        checks.close(key, gradient, io[key], GRADIENT * float(io[key].abs().max()))
