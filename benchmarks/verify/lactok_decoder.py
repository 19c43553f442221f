"""Kind `lactok_decoder`: LaCTok's decoder, samplers and both stages' losses, LoRA merged and cross-attention folded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.recipe import weights_of
from lactok.nn import samplers
from lactok.nn.lactok import LaCTok, LaCTokConfig
from lactok.nn.lactok_checkpoint import UNET, drop_cross_attention, merge_lora
from lactok.nn.latent_decoder import DecoderConfig
from lactok.nn.vqgan import VQConfig
from lactok.weights import load_strict

# the kind's README: absolute for float32, relative to the tensor's own maximum for gradients
ABSOLUTE = {"codes": 1e-6, "eps": 3e-6, "latent": 5e-5, "image": 1e-5, "levels": 1.0, "inter": 1e-5}
GRADIENT, LOSS = 1e-4, 1e-5
Close = Callable[[str, Tensor, str], None]  # a stored tensor's name, what was made, a key of `ABSOLUTE`
OTHER_PARTS = ("encoder.", "quantize.", "quant_conv.", "post_quant_conv.")


def build(config: dict[str, Any], stored: dict[str, Tensor], lora: bool) -> LaCTok:
    """The model of the set with or without its accelerator."""
    codes, dim = config["codebook"]
    shape = LaCTokConfig(
        # the smallest encoder: the set has none
        VQConfig(32, (1,), 1, z_channels=32, codebook_size=codes, codebook_dim=dim, usage_buffer=False),
        DecoderConfig(config["unet"], dim, tuple(config["conditioning_embedding_out_channels"])),
        config["vae"],
    )
    model = LaCTok(shape)
    tensors = {k.replace(UNET, "decoder.unet.", 1): v.float() for k, v in stored.items()}
    tensors = drop_cross_attention(merge_lora(tensors, config["lora"]["scaling"] if lora else 0.0))
    parts = {k: v for k, v in tensors.items() if not k.startswith(OTHER_PARTS)}
    own = {k: v for k, v in model.state_dict().items() if k.startswith(OTHER_PARTS)}  # the set has no encoder
    load_strict(model, own | parts | {"quantize.embedding.weight": tensors["quantize.embedding.weight"]}, "lactok")
    model.eval().requires_grad_(False).optimize_for_inference(config["image_size"])  # as the tokenizers compute
    return model


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    stored, io = weights_of(folder / "weights_fp16.safetensors"), checks.tensors(folder / "tensors.safetensors")
    fast, plain = (build(config, stored, lora) for lora in (True, False))

    def close(name: str, actual: Tensor, kind: str) -> None:
        checks.close(name, actual, io[name], checks.atol(ABSOLUTE[kind], kind))

    close("alphas_cumprod", samplers.alphas_cumprod(), "codes")
    size = config["image_size"]
    with torch.inference_mode():
        for name, case in config["cases"].items():
            _decode(fast, io, name, case, size, close, checks)
        first = next(iter(config["cases"]))
        _inside(fast, plain, io, first, config, close)
        _one_step(fast, io, first, config, close)
        _samplers(fast, io, first, config, close)
    if "stage1" in config:
        _training(fast, plain, io, config, close, checks)
    checks.finish(io)


def _decode(
    model: LaCTok, io: dict[str, Tensor], name: str, case: dict[str, Any], size: int, close: Close, checks: Checks
) -> None:
    """One decoding from ids to pixels, step by step and as a whole."""
    at, times, scale = f"decode/{name}", case["timesteps"], case["cs"]
    checks.skip(f"{at}/code_idx", "an input")
    ids = io[f"{at}/code_idx"].long()
    close(f"{at}/quant", model.quantize.lookup(ids), "codes")
    code_map = model.code_map(ids, size)
    noises = [io[f"{at}/noise{i}"] for i in range(len(times))]
    clean = noises[0]
    for i, t in enumerate(times):
        checks.skip(f"{at}/noise{i}", "an input")
        x = samplers.add_noise(clean, noises[i], t) if i else noises[0]
        close(f"{at}/x{i}", x, "latent")
        epsilon = model.decoder(io[f"{at}/x{i}"], t, code_map, size, scale)
        close(f"{at}/eps{i}", epsilon, "eps")
        clean = samplers.predicted_clean(io[f"{at}/x{i}"], epsilon, t)
        close(f"{at}/denoised{i}", clean, "latent")
    latents = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size, scale), noises, times)
    close(f"{at}/latent_final", latents, "latent")
    image = model.decode_latents(io[f"{at}/latent_final"]).clamp(-1, 1)
    close(f"{at}/image_clipped", image, "image")
    levels = (255 * (0.5 * image + 0.5).clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1)
    close(f"{at}/image_u8", levels.int(), "levels")


def _inside(
    fast: LaCTok, plain: LaCTok, io: dict[str, Tensor], name: str, config: dict[str, Any], close: Close
) -> None:
    """Activations of the first call of the first case, its first picture alone."""
    decoder, case, size = fast.decoder, config["cases"][name], config["image_size"]
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
    x, t = io[f"decode/{name}/x0"], case["timesteps"][0]
    code_map = fast.code_map(io[f"decode/{name}/code_idx"].long(), size)
    found["cond_nearest"] = code_map
    decoder(x, t, code_map, size, case["cs"])
    for hook in hooks:
        hook.remove()
    down, middle = decoder.residuals(x, t, code_map, size, case["cs"])
    found |= {f"cn_res_down{i}": residual for i, residual in enumerate(down)} | {"cn_res_mid": middle}
    for key, value in found.items():
        close(f"inter/{key}", value[:1], "inter")
    close("inter/eps0_no_lora", plain.decoder(x, t, code_map, size), "eps")


def _keep(found: dict[str, Tensor], name: str) -> Any:
    def hook(module: torch.nn.Module, inputs: object, output: Tensor) -> None:
        found[name] = output

    return hook


def _one_step(model: LaCTok, io: dict[str, Tensor], name: str, config: dict[str, Any], close: Close) -> None:
    """The one-step samplers from the first case's start: LCM's, which is Hyper-SD's, and TCD's."""
    x, size = io[f"decode/{name}/x0"], config["image_size"]
    code_map = model.code_map(io[f"decode/{name}/code_idx"].long(), size)
    (t,) = config["lcm_timesteps"]
    close(f"onestep/eps_t{t}", model.decoder(x, t, code_map, size), "eps")
    clean = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size), [x], (t,))
    close(f"onestep/x0_t{t}", clean, "latent")
    close(f"onestep/lcm_t{t}_denoised", clean, "latent")
    (t,) = config["tcd_timesteps"]
    epsilon = model.decoder(x, t, code_map, size)
    close("onestep/tcd_eps", epsilon, "eps")
    close("onestep/tcd_eta1_prev_sample", samplers.tcd_step(x, epsilon, t), "latent")


def _samplers(model: LaCTok, io: dict[str, Tensor], name: str, config: dict[str, Any], close: Close) -> None:
    """Whole samplings with this project's own seeded noise, by every sampler that the set names, with its steps."""
    size = config["image_size"]
    code_map = model.code_map(io[f"decode/{name}/code_idx"].long(), size)
    for sampler, steps in config.get("samplers", {}).items():
        close(f"sampled/{sampler}", model.sample(code_map, torch.arange(len(code_map)), size, sampler, steps), "latent")


def _training(
    fast: LaCTok, plain: LaCTok, io: dict[str, Tensor], config: dict[str, Any], close: Close, checks: Checks
) -> None:
    """Losses and gradients of both stages; squared error stands for LPIPS, as in the set."""
    size = config["image_size"]
    for name in ("train/code_idx", "train/image", "train/vae_noise", "stage1/noise"):
        checks.skip(name, "an input")
    mean, logvar = fast.posterior(io["train/image"])
    close("train/vae_mean", mean, "latent")
    close("train/vae_logvar", logvar, "latent")
    close("train/latent", fast.latents(io["train/image"], io["train/vae_noise"]), "latent")
    quant = fast.quantize.lookup(io["train/code_idx"].long())
    close("train/quant", quant, "codes")

    def mapped(model: LaCTok) -> tuple[Tensor, Tensor]:
        model.decoder.controlnet.requires_grad_(True).zero_grad()
        codes = quant.clone().requires_grad_(True)
        side = size // model.config.latent_down
        return codes, F.interpolate(codes, (side, side), mode="nearest")

    codes, code_map = mapped(plain)
    t = torch.tensor(config["stage1"]["timesteps"])
    x = samplers.add_noise(io["train/latent"], io["stage1/noise"], t)
    close("stage1/x_t", x, "eps")
    epsilon = plain.decoder(x, t, code_map, size)
    close("stage1/eps", epsilon, "eps")
    _gradients("stage1", F.mse_loss(epsilon, io["stage1/noise"]), plain, codes, io, config, checks)

    codes, code_map = mapped(fast)
    times, clean = config["stage2"]["timesteps"], io["stage2/noise0"]
    for i, time in enumerate(times):
        checks.skip(f"stage2/noise{i}", "an input")
        noise = io[f"stage2/noise{i}"]
        x = samplers.add_noise(clean, noise, time) if i else noise
        if i:
            close(f"stage2/x{i}", x, "latent")
        with torch.set_grad_enabled(i == len(times) - 1):  # the last step alone has a gradient
            epsilon = fast.decoder(x, time, code_map, size)
            clean = samplers.predicted_clean(x, epsilon, time)
        close(f"stage2/eps{i}", epsilon, "eps")
        close(f"stage2/denoised{i}", clean, "latent")
    image = fast.decode_latents(clean)
    close("stage2/image_out", image, "image")
    _gradients("stage2", F.mse_loss(image, io["train/image"]), fast, codes, io, config, checks)

    codes, code_map = mapped(fast)
    start, (time,) = io["stage2/noise0"], config["stage2_onestep"]["timesteps"]
    clean = samplers.predicted_clean(start, fast.decoder(start, time, code_map, size), time)
    close("stage2_onestep/denoised", clean, "latent")
    loss = F.mse_loss(fast.decode_latents(clean), io["train/image"])
    _gradients("stage2_onestep", loss, fast, codes, io, config, checks)


def _gradients(
    stage: str,
    loss: Tensor,
    model: LaCTok,
    codes: Tensor,
    io: dict[str, Tensor],
    config: dict[str, Any],
    checks: Checks,
) -> None:
    expected = config[stage]
    stored_loss = expected.get("loss", config.get("losses", {}).get(stage))
    if stored_loss is not None:
        checks.close(f"{stage} loss", loss, stored_loss, 0, checks.rtol(LOSS, "loss"))
    loss.backward()
    within = checks.rtol(GRADIENT, "gradient")
    parameters = model.decoder.controlnet.named_parameters()  # those of a `CachedEmbedding` lie a level deeper
    named = {name.replace("_embedding.embedding.", "_embedding."): p for name, p in parameters}
    for name, norm in expected["grad_norms"].items():
        if name in named:
            gradient = named[name].grad
            assert gradient is not None
            checks.close(f"{stage} |grad {name}|", gradient.norm(), norm, 1e-9, within)
        else:
            checks.equal(f"{stage} |grad {name}|", norm, 0.0, "0: folded away")
    for key in (k for k in io if k.startswith(f"{stage}/grad")):
        gradient = codes.grad if key.endswith("grad_quant") else named[key.removeprefix(f"{stage}/grad/")].grad
        checks.close(key, gradient, io[key], within * float(io[key].abs().max()))
