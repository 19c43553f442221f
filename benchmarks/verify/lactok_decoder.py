"""Kind `lactok_decoder`: LaCTok's decoder, its samplers, and the losses and gradients of both training stages.

LoRA weights are merged into the layers and cross-attention is folded away, as in this project's tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

# absolute tolerances by kind of tensor, as the READMEs of the kind's sets suggest for float32
ATOL = {"codes": 1e-6, "eps": 3e-6, "latent": 5e-5, "image": 1e-5, "levels": 1.0, "inter": 1e-5}
GRADIENT_RTOL = 1e-4  # of the largest element of the gradient
LOSS_RTOL = 1e-5
OTHER_PARTS = ("encoder.", "quantize.", "quant_conv.", "post_quant_conv.")


@dataclass(frozen=True)
class DecoderSet:
    """A set with this project's models of it.

    Attributes:
        config: the content of config.json.
        io: the stored inputs and expected outputs by name.
        checks: where the comparisons are counted.
        accelerated: the model with the accelerator's LoRA merged into its UNet.
        plain: the model without it.
    """

    config: dict[str, Any]
    io: dict[str, Tensor]
    checks: Checks
    accelerated: LaCTok
    plain: LaCTok

    @property
    def size(self) -> int:
        """The side of the images in pixels."""
        return self.config["image_size"]

    @property
    def first_case(self) -> str:
        """The name of the first case of decoding, whose code map and starting noise several checks use."""
        return next(iter(self.config["cases"]))

    def ids(self, case: str) -> Tensor:
        """Return the ids (B, h, w) of a case."""
        return self.io[f"decode/{case}/code_idx"].long()

    def close(self, name: str, actual: Tensor, kind: str) -> None:
        """Compare a tensor with the stored one of its name; `kind` is a key of ATOL."""
        self.checks.close(name, actual, self.io[name], self.checks.atol(ATOL[kind], kind))


def build(config: dict[str, Any], stored: dict[str, Tensor], lora: bool) -> LaCTok:
    """Return the model of a set, with or without the accelerator's LoRA."""
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
    own = {k: v for k, v in model.state_dict().items() if k.startswith(OTHER_PARTS)}  # these keep their initial weights
    load_strict(model, own | parts | {"quantize.embedding.weight": tensors["quantize.embedding.weight"]}, "lactok")
    model.eval().requires_grad_(False).optimize_for_inference(config["image_size"])  # as the tokenizers compute
    return model


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare decoding step by step, activations, samplers and, if the set has them, both stages of training."""
    stored = weights_of(folder / "weights_fp16.safetensors")
    io = checks.tensors(folder / "tensors.safetensors")
    reference = DecoderSet(config, io, checks, build(config, stored, lora=True), build(config, stored, lora=False))
    reference.close("alphas_cumprod", samplers.alphas_cumprod(), "codes")
    with torch.inference_mode():
        for case in config["cases"]:
            _check_decoding(reference, case)
        _check_activations(reference)
        _check_one_step_samplers(reference)
        _check_whole_samplings(reference)
    if "stage1" in config:
        _check_vae_encoder(reference)
        _check_stage_1(reference)
        _check_stage_2(reference)
        _check_one_step_stage_2(reference)
    checks.finish(io)


def _check_decoding(reference: DecoderSet, case: str) -> None:
    """Compare the decoding of a case from ids to pixels, step by step and as a whole."""
    model, io, size, close = reference.accelerated, reference.io, reference.size, reference.close
    prefix = f"decode/{case}"
    times, scale = reference.config["cases"][case]["timesteps"], reference.config["cases"][case]["cs"]
    reference.checks.skip(f"{prefix}/code_idx", "an input")
    ids = reference.ids(case)
    close(f"{prefix}/quant", model.quantize.lookup(ids), "codes")
    code_map = model.code_map(ids, size)
    noises = [io[f"{prefix}/noise{i}"] for i in range(len(times))]
    clean = noises[0]
    for i, t in enumerate(times):
        reference.checks.skip(f"{prefix}/noise{i}", "an input")
        x = noises[0] if i == 0 else samplers.add_noise(clean, noises[i], t)
        close(f"{prefix}/x{i}", x, "latent")
        # from the stored input of the step, so that differences do not add up
        epsilon = model.decoder(io[f"{prefix}/x{i}"], t, code_map, size, scale)
        close(f"{prefix}/eps{i}", epsilon, "eps")
        clean = samplers.predicted_clean(io[f"{prefix}/x{i}"], epsilon, t)
        close(f"{prefix}/denoised{i}", clean, "latent")
    latents = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size, scale), noises, times)
    close(f"{prefix}/latent_final", latents, "latent")
    image = model.decode_latents(io[f"{prefix}/latent_final"]).clamp(-1, 1)
    close(f"{prefix}/image_clipped", image, "image")
    levels = (255 * (0.5 * image + 0.5).clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1)
    close(f"{prefix}/image_u8", levels.int(), "levels")


def _check_activations(reference: DecoderSet) -> None:
    """Compare activations of the first decoder call of the first case; the set has those of its first image alone."""
    case, size = reference.first_case, reference.size
    decoder = reference.accelerated.decoder
    found: dict[str, Tensor] = {}
    hooks = [
        decoder.controlnet.controlnet_cond_embedding.register_forward_hook(_keep_in(found, "cn_cond_embedding")),
        decoder.controlnet.time_embedding.register_forward_hook(_keep_in(found, "cn_time_emb")),
        decoder.controlnet.add_embedding.register_forward_hook(_keep_in(found, "cn_add_emb")),
        decoder.unet.time_embedding.register_forward_hook(_keep_in(found, "unet_time_emb")),
        decoder.unet.add_embedding.register_forward_hook(_keep_in(found, "unet_add_emb")),
        decoder.unet.conv_in.register_forward_hook(_keep_in(found, "unet_conv_in")),
        decoder.unet.mid_block.register_forward_hook(_keep_in(found, "unet_mid_before_residual")),
    ]
    x, t = reference.io[f"decode/{case}/x0"], reference.config["cases"][case]["timesteps"][0]
    scale = reference.config["cases"][case]["cs"]
    code_map = reference.accelerated.code_map(reference.ids(case), size)
    found["cond_nearest"] = code_map
    decoder(x, t, code_map, size, scale)
    for hook in hooks:
        hook.remove()
    down, middle = decoder.residuals(x, t, code_map, size, scale)
    for i, residual in enumerate(down):
        found[f"cn_res_down{i}"] = residual
    found["cn_res_mid"] = middle
    for name, value in found.items():
        reference.close(f"inter/{name}", value[:1], "inter")
    reference.close("inter/eps0_no_lora", reference.plain.decoder(x, t, code_map, size), "eps")


def _keep_in(found: dict[str, Tensor], name: str) -> Callable[[torch.nn.Module, Any, Tensor], None]:
    """Return a forward hook that keeps a module's output under a name."""

    def hook(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        found[name] = output

    return hook


def _check_one_step_samplers(reference: DecoderSet) -> None:
    """Compare one-step sampling from the first case's noise: LCM's sampler, which is Hyper-SD's too, and TCD's."""
    model, size, close = reference.accelerated, reference.size, reference.close
    x = reference.io[f"decode/{reference.first_case}/x0"]
    code_map = model.code_map(reference.ids(reference.first_case), size)
    (t,) = reference.config["lcm_timesteps"]
    close(f"onestep/eps_t{t}", model.decoder(x, t, code_map, size), "eps")
    clean = samplers.consistency(lambda x, t: model.decoder(x, t, code_map, size), [x], (t,))
    close(f"onestep/x0_t{t}", clean, "latent")
    close(f"onestep/lcm_t{t}_denoised", clean, "latent")
    (t,) = reference.config["tcd_timesteps"]
    epsilon = model.decoder(x, t, code_map, size)
    close("onestep/tcd_eps", epsilon, "eps")
    close("onestep/tcd_eta1_prev_sample", samplers.tcd_step(x, epsilon, t), "latent")


def _check_whole_samplings(reference: DecoderSet) -> None:
    """Compare whole samplings from this project's seeded noise, by every sampler and number of steps in the set."""
    model, size = reference.accelerated, reference.size
    code_map = model.code_map(reference.ids(reference.first_case), size)
    seeds = torch.arange(len(code_map))
    for sampler, steps in reference.config.get("samplers", {}).items():
        reference.close(f"sampled/{sampler}", model.sample(code_map, seeds, size, sampler, steps), "latent")


def _check_vae_encoder(reference: DecoderSet) -> None:
    """Compare the latents and codes of the training images."""
    model, io, close = reference.accelerated, reference.io, reference.close
    for name in ("train/code_idx", "train/image", "train/vae_noise", "stage1/noise"):
        reference.checks.skip(name, "an input")
    mean, logvar = model.posterior(io["train/image"])
    close("train/vae_mean", mean, "latent")
    close("train/vae_logvar", logvar, "latent")
    close("train/latent", model.latents(io["train/image"], io["train/vae_noise"]), "latent")
    close("train/quant", model.quantize.lookup(io["train/code_idx"].long()), "codes")


def _codes_with_gradients(reference: DecoderSet, model: LaCTok) -> tuple[Tensor, Tensor]:
    """Return the codes of the training images and the code map made of them; they and the ControlNet get gradients."""
    model.decoder.controlnet.requires_grad_(True).zero_grad()
    codes = model.quantize.lookup(reference.io["train/code_idx"].long()).clone().requires_grad_(True)
    side = reference.size // model.config.latent_down
    return codes, F.interpolate(codes, (side, side), mode="nearest")


def _check_stage_1(reference: DecoderSet) -> None:
    """Compare the diffusion loss of the model without LoRA, and its gradients."""
    model, io = reference.plain, reference.io
    codes, code_map = _codes_with_gradients(reference, model)
    t = torch.tensor(reference.config["stage1"]["timesteps"])
    x = samplers.add_noise(io["train/latent"], io["stage1/noise"], t)
    reference.close("stage1/x_t", x, "eps")
    epsilon = model.decoder(x, t, code_map, reference.size)
    reference.close("stage1/eps", epsilon, "eps")
    _check_gradients(reference, "stage1", F.mse_loss(epsilon, io["stage1/noise"]), model, codes)


def _check_stage_2(reference: DecoderSet) -> None:
    """Compare the loss of images that a few sampler steps make, and its gradients.

    The loss is the squared error, which stands for LPIPS in the set, and only the last step has a gradient.
    """
    model, io, close = reference.accelerated, reference.io, reference.close
    codes, code_map = _codes_with_gradients(reference, model)
    times = reference.config["stage2"]["timesteps"]
    clean = io["stage2/noise0"]
    for i, t in enumerate(times):
        reference.checks.skip(f"stage2/noise{i}", "an input")
        x = noise = io[f"stage2/noise{i}"]
        if i > 0:
            x = samplers.add_noise(clean, noise, t)
            close(f"stage2/x{i}", x, "latent")
        with torch.set_grad_enabled(i == len(times) - 1):
            epsilon = model.decoder(x, t, code_map, reference.size)
            clean = samplers.predicted_clean(x, epsilon, t)
        close(f"stage2/eps{i}", epsilon, "eps")
        close(f"stage2/denoised{i}", clean, "latent")
    image = model.decode_latents(clean)
    close("stage2/image_out", image, "image")
    _check_gradients(reference, "stage2", F.mse_loss(image, io["train/image"]), model, codes)


def _check_one_step_stage_2(reference: DecoderSet) -> None:
    """Compare the loss of images that one sampler step makes from stage 2's first noise, and its gradients."""
    model, io = reference.accelerated, reference.io
    codes, code_map = _codes_with_gradients(reference, model)
    noise = io["stage2/noise0"]
    (t,) = reference.config["stage2_onestep"]["timesteps"]
    clean = samplers.predicted_clean(noise, model.decoder(noise, t, code_map, reference.size), t)
    reference.close("stage2_onestep/denoised", clean, "latent")
    loss = F.mse_loss(model.decode_latents(clean), io["train/image"])
    _check_gradients(reference, "stage2_onestep", loss, model, codes)


def _check_gradients(reference: DecoderSet, stage: str, loss: Tensor, model: LaCTok, codes: Tensor) -> None:
    """Compare the loss of a stage, the norms of all gradients of the ControlNet, and the stored whole gradients.

    Args:
        reference: the set.
        stage: key of the stage in config.json and in the tensors' names.
        loss: the loss, of which the gradients are computed here.
        model: the model whose ControlNet gets gradients.
        codes: the codes (B, C, h, w), which get a gradient too.
    """
    config, io, checks = reference.config, reference.io, reference.checks
    stored_loss = config[stage].get("loss", config.get("losses", {}).get(stage))
    if stored_loss is not None:
        checks.close(f"{stage} loss", loss, stored_loss, 0, checks.rtol(LOSS_RTOL, "loss"))
    loss.backward()
    rtol = checks.rtol(GRADIENT_RTOL, "gradient")
    parameters = {}
    for name, parameter in model.decoder.controlnet.named_parameters():
        # a `CachedEmbedding` adds a level to the official names of the parameters inside it
        parameters[name.replace("_embedding.embedding.", "_embedding.")] = parameter
    for name, norm in config[stage]["grad_norms"].items():
        if name in parameters:
            gradient = parameters[name].grad
            assert gradient is not None
            checks.close(f"{stage} |grad {name}|", gradient.norm(), norm, 1e-9, rtol)
        else:
            checks.equal(f"{stage} |grad {name}|", norm, 0.0, "0: folded away")
    for key in [key for key in io if key.startswith(f"{stage}/grad")]:
        name = key.removeprefix(f"{stage}/grad/")
        gradient = codes.grad if key.endswith("grad_quant") else parameters[name].grad
        checks.close(key, gradient, io[key], rtol * float(io[key].abs().max()))
