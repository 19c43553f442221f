"""Trains SeedTok: a quantizer that keeps an image embedding, a diffusion decoder of it, and both together.

Source: Ge et al. 2023, arXiv 2310.01218, section 3.2, with smaller parts. Stage 1 trains the quantizer to predict the
teacher's embedding and to rebuild its own Q-Former's output. Stage 2 trains the diffusion decoder on the teacher's
embeddings. Stage 3 goes on with both: the picture that a few steps of the sampler make of the ids is compared with the
photograph. SEED has no stage 3 (its decoder is a published one, which is tuned on the predicted embeddings).

A linear predictor of the decoder begins as the regression of latents on embeddings, and stage 2 paints what is left.
What Inception makes of a change differs from picture to picture, and a small decoder learns little from that at first.
So stage 3 begins with one fixed picture, the same for every embedding, around which the predictor learns what Inception
looks for; then regression and diffusion fade in.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError
from lactok.nn.inception import inception
from lactok.nn.inception_checkpoint import INCEPTION
from lactok.nn.inception_encoder import InceptionEncoder
from lactok.nn.lactok import drawn_latents, moments
from lactok.nn.latent_decoder import fold_upsampling
from lactok.nn.lpips import LPIPS, load_lpips
from lactok.nn.seed import EvaViT, SeedConfig, SeedQuantizer, clip_normalise
from lactok.nn.unclip import UnCLIP, UnCLIPShape
from lactok.randomness import noise, seed_of
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo, Photos, centre_square, to_tensor
from lactok.training.feature_cache import Frozen
from lactok.training.ldm import VAEPart, timesteps
from lactok.training.pretrained import load_parts, load_weights
from lactok.training.teacher import Content, Teacher, described, fid_features, inception_features

PRETRAINED = "model.visual_encoder.features"  # Inception's, frozen; an asset of its own, in no export
DIFFUSION = ("unclip.unet", "unclip.text_encoder", "unclip.image_normalizer")
MIXED = 4  # pictures in a mixture
RIDGE = 0.3  # of the predictor's least squares, for each picture, whose embedding has about unit variance


@dataclass(frozen=True, kw_only=True)
class SeedTokRecipe(CodebookRecipe):
    """Any stage.

    Attributes:
        stage: 1 quantizer, 2 decoder, 3 both.
        quantizer: what stage 1 wrote, quantizer and teacher; stages 2 and 3 need it.
        decoder: what stage 2 wrote; stage 3 needs it.
        fit: training photographs, at most, whose principal components the teacher takes.
        embedding: weight of the squared error of the predicted embedding; its variance is 1.
        cosine: weight of one minus its cosine similarity.
        rebuild: weight of one minus the cosine similarity of the rebuilt Q-Former output.
        mixup: share of stage 1's pictures that are mixed from a few: deviations from the batch's mean, with random
            weights of length 1. Embeddings are linear in what the Inception encoder sees, so a mixture's is known.
        unconditional: share of stage 2's pictures without an embedding, for guidance.
        few_steps: of the sampler in stage 3, all with gradient.
        joint: stage 3 teaches the quantizer as well; else only the decoder, to paint what the quantizer predicts.
        lpips, colour: weights of stage 3's losses of pixels: LPIPS, and absolute error at an eighth of the side.
        content: weight of one minus the cosine similarity of Inception's features, relative to their mean.
        texture: the same of its maps before the last, averaged over the picture.
        contrast: weight of a cross entropy: which training photographs are the nearest to the picture, for those that
            are the nearest to its own, by cosine similarity of the same features over `temperature`.
        plain: steps of stage 3 around the fixed picture, for a decoder with a predictor.
        settle: steps that fit that picture to the mean of the photographs' Inception features, before the first.
        fade: steps in which regression and diffusion fade in, with the losses of pixels.
        regression: part of the regression that is there in the end; less leaves more to what Inception looks for.
        jitter: deviation of noise on the embeddings that stage 3 paints; the teacher's are of variance 1.
        eval_steps: of the sampler on held-out photographs, without guidance.
    """

    stage: int
    model: SeedConfig
    unclip: UnCLIPShape
    vae: VAEPart
    quantizer: str = ""
    decoder: str = ""
    fit: int = 4000
    embedding: float = 1.0
    cosine: float = 1.0
    rebuild: float = 0.1
    mixup: float = 0.0
    unconditional: float = 0.1
    few_steps: int = 4
    joint: bool = True
    lpips: float = 0.5
    colour: float = 0.5
    content: float = 1.0
    texture: float = 1.0
    contrast: float = 0.1
    temperature: float = 0.03
    plain: int = 0
    settle: int = 100
    fade: int = 0
    regression: float = 1.0
    jitter: float = 0.0
    eval_steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (1, 2, 3):
            raise UserError(f"stage = {self.stage}: 1 (quantizer), 2 (decoder) or 3 (both)")
        if (self.stage > 1 and not self.quantizer) or (self.stage == 3 and not self.decoder):
            raise UserError("stage 2 needs `quantizer`, what stage 1 wrote; stage 3 also `decoder`, what stage 2 wrote")
        model = self.model
        if self.crop != model.image_size or (not model.inception and self.crop % model.patch):
            raise UserError(f"crop = {self.crop} must be [model] image_size, and a multiple of patch")
        if model.hidden % 12 or model.hidden % model.heads or model.vit[0] % model.vit[2]:
            raise UserError("[model] hidden must be a multiple of 12 and of heads, vit's width of its heads")
        if self.few_steps < 2:
            raise UserError(f"few_steps = {self.few_steps}: the sampler needs at least 2")
        if self.mixup and not (self.stage == 1 and model.inception):
            raise UserError("mixup is for stage 1 and a visual encoder that is Inception")
        if (self.plain or self.fade) and not self.unclip.predictor:
            raise UserError("plain and fade are for a decoder with [unclip] predictor")
        if self.fsdp and self.unclip.predictor:
            raise UserError("fsdp does not work with [unclip] predictor; leave one of them out")

    def visible(self, step: int) -> float:
        """How much of regression and diffusion stage 3 shows at a step, 0 to 1."""
        return min(1.0, max(0.0, (step - self.plain) / self.fade)) if self.fade else float(step >= self.plain)


def initialise(model: SeedQuantizer) -> None:
    """What the published file brings and the class leaves at zero: queries, positions, the class token."""
    parameters = [model.query_tokens, model.pos_embed, model.pos_embed_image]
    if isinstance(model.visual_encoder, EvaViT):
        parameters += [model.visual_encoder.cls_token, model.visual_encoder.pos_embed]
    else:
        weights.load_strict(model.visual_encoder.features, weights.load(INCEPTION), "the visual encoder")
    for parameter in parameters:
        nn.init.trunc_normal_(parameter, std=0.02)


def mixed(seeds: Tensor, share: float) -> Tensor:
    """Weights (B, B) of a batch's images in its mixtures; rows sum to 1, and some are an image alone."""
    count = len(seeds)
    weights = noise(seeds, (count,), "mixture")
    few = noise(seeds, (count,), "members").argsort(1) < MIXED
    weights = F.normalize(weights * few, dim=1)
    alone = torch.tensor([seed_of(s, "mixup") % 1000 >= 1000 * share for s in seeds.tolist()])
    return torch.where(alone[:, None], torch.eye(count), weights + (1 - weights.sum(1, keepdim=True)) / count)


def unlike(first: Tensor, second: Tensor) -> Tensor:
    """One minus the cosine similarity along the last dimension, a mean."""
    return 1 - F.cosine_similarity(first.float(), second.float(), dim=-1).mean()


class SeedTokLearner(CodebookLearner):
    lpips: LPIPS
    regression: Tensor

    def __init__(self, recipe: SeedTokRecipe):
        super().__init__()
        self.recipe = recipe
        stage, features = recipe.stage, recipe.model.features
        torch.manual_seed(recipe.seed)
        self.model = SeedQuantizer(recipe.model)
        initialise(self.model)
        vae = dict(recipe.vae.shape.arguments()) | {"scaling_factor": recipe.vae.scaling}
        self.unclip = UnCLIP(recipe.unclip.config(features, vae, recipe.crop))
        self.teacher = Teacher(features)
        # moved with the rest
        self.lpips, self.inception = copy.deepcopy(load_lpips("alex", "cpu")), copy.deepcopy(inception("cpu"))
        self.content = None
        if stage == 3:
            self.content = Content(len(Photos.of(recipe.data, recipe.held_out).train[: recipe.fit]))
        load_weights(self.unclip.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=recipe.vae.scaling)
        fold_upsampling(self.unclip.vae.decoder)
        if stage > 1:
            load_parts(self, ("model", "teacher"), recipe.quantizer, "quantizer", keep=PRETRAINED)
        if stage == 3:
            load_parts(self, self.decoder_parts, recipe.decoder, "decoder")
        self.requires_grad_(False)
        predictor = self.unclip.predictor
        if predictor is not None and stage < 3:
            nn.init.zeros_(predictor.weight)  # until it is fitted
        elif predictor is not None:
            predictor.requires_grad_(True)
            self.register_buffer("regression", recipe.regression * predictor.weight.detach(), persistent=False)
            predictor.weight.data.copy_(recipe.visible(0) * self.regression)
        if stage == 1 or (stage == 3 and recipe.joint):
            self.model.requires_grad_(True)
            if recipe.model.inception:
                self.get_submodule(PRETRAINED).requires_grad_(False)
            self.watch(recipe, self.model.quantize, "model.quantize.embedding.weight")
            if stage == 3 and self.revival is not None:
                self.revival.last_used.zero_()  # they are trained codes
        if stage > 1:
            self.unclip.unet.requires_grad_(True)
            self.unclip.text_encoder.requires_grad_(True)
        keep = recipe.variants > 0
        self.moments = Frozen(partial(moments, self.unclip.vae), keep)
        self.meant = Frozen(partial(inception_features, self.inception), keep)
        self.embeds = Frozen(self.embed, keep)
        if isinstance(encoder := self.model.visual_encoder, InceptionEncoder):
            encoder.seen = Frozen(encoder.places, keep)

    @property
    def decoder_parts(self) -> tuple[str, ...]:
        """What stage 2 writes."""
        return DIFFUSION if self.unclip.predictor is None else (*DIFFUSION, "unclip.predictor")

    def train(self, mode: bool = True) -> SeedTokLearner:
        super().train(mode)
        for frozen in (self.unclip.vae, self.inception, self.model.visual_encoder):
            frozen.eval()
        # the gradient of a group norm is many times slower in the layout of the others
        self.unclip.vae.to(memory_format=torch.contiguous_format)
        return self

    def remembered(self) -> dict[str, Tensor]:
        memory = {"mean": self.teacher.mean, "projection": self.teacher.projection}
        if content := self.content:
            memory |= {"content": content.mean, "photographs": content.photographs}
        if self.recipe.stage == 2 and (predictor := self.unclip.predictor):
            memory |= {"weight": predictor.weight.detach(), "bias": predictor.bias.detach()}
        return super().remembered() | memory

    def squares(self, most: int) -> Iterator[Tensor]:
        """Central squares of the first training photographs, (1, 3, S, S)."""
        for photo in Photos.of(self.recipe.data, self.recipe.held_out).train[:most]:
            yield to_tensor([centre_square(photo.open_rgb(), self.recipe.crop)]).to(self.teacher.mean.device)

    @torch.no_grad()
    def fit_teachers(self) -> None:
        """Once, from training photographs: the embedding's from them and their mirror images; then the predictor."""
        if not self.teacher.fitted:
            both = (torch.cat([image, image.flip(-1)]) for image in self.squares(self.recipe.fit))
            self.teacher.fit(torch.cat([described(self.lpips, self.meant(images), images) for images in both]))
            if isinstance(self.model.visual_encoder, InceptionEncoder):
                self.teacher.start(self.model.visual_encoder.proj)
        if self.content and not self.content.fitted:
            self.content.fit(torch.cat([self.meant(image) for image in self.squares(self.recipe.fit)]))
            if self.recipe.plain and (predictor := self.unclip.predictor):
                self.settle(predictor, self.content)
        if self.recipe.stage == 2 and (predictor := self.unclip.predictor) and not predictor.weight.any():
            self.regress(predictor)

    def regress(self, predictor: nn.Linear) -> None:
        """Fit the decoder's predictor to the latents of training photographs by least squares."""
        pairs = [(self.embeds(image), self.latents(image, None)) for image in self.squares(self.recipe.fit)]
        embeds, latents = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        targets = F.adaptive_avg_pool2d(latents, self.unclip.config.predictor).flatten(1)
        predictor.bias.copy_(targets.mean(0))
        ridge = RIDGE * len(pairs) * torch.eye(embeds.shape[1], device=embeds.device)
        normal = embeds.t() @ embeds + ridge
        predictor.weight.copy_(torch.linalg.solve(normal, embeds.t() @ (targets - predictor.bias)).t())

    @torch.enable_grad()
    def settle(self, predictor: nn.Linear, content: Content) -> None:
        """Move the predictor's bias, a picture of its own, to where Inception sees the mean of the photographs."""
        steps, rate = self.recipe.settle, 0.05
        bias = predictor.bias.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([bias], lr=rate)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            picture = self.unclip.decode_latents(self.unclip.grid(bias[None])) * 2 - 1
            loss = content.far(inception_features(self.inception, picture[self.window(torch.tensor([step]))]))
            (bias.grad,) = torch.autograd.grad(loss, bias)
            optimizer.step()
        predictor.bias.data.copy_(bias.detach())

    def latents(self, images: Tensor, draw: Tensor | None) -> Tensor:
        """Scaled latents (B, C, h, w) of images (B, 3, S, S) in [-1, 1]: drawn by noise of their shape, or the mean."""
        moments = self.moments(images)
        return drawn_latents(self.unclip.vae, moments, torch.zeros(()) if draw is None else draw)

    def embed(self, images: Tensor) -> Tensor:
        """The teacher's embeddings (B, features) of images (B, 3, S, S) in [-1, 1]."""
        return self.teacher(described(self.lpips, self.meant(images), images))

    @torch.no_grad()
    def predicted(self, images: Tensor) -> Tensor:
        """The embeddings (B, features) of the ids of images (B, 3, S, S) in [-1, 1]."""
        return self.model.image_embeds(self.model.encode(clip_normalise(images / 2 + 0.5))).float()

    # -- losses

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.fit_teachers()
        if self.recipe.stage == 2:
            return self.diffusion_loss(images, seeds), {}
        if self.recipe.stage == 1 or self.recipe.joint:
            embeds, loss, parts = self.quantizer_loss(images, seeds, step)
        else:
            embeds, loss, parts = self.predicted(images), torch.zeros((), device=images.device), {}
        if self.recipe.stage == 3:
            visible = self.recipe.visible(step)
            pictures = self.picture_losses(images, seeds, embeds, visible)
            shares = {"lpips": visible, "colour": visible}
            loss = loss + sum(getattr(self.recipe, k) * shares.get(k, 1.0) * v for k, v in pictures.items())
            parts |= pictures
        return loss, parts

    def quantizer_loss(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Predicted embeddings (B, features), the loss and its parts."""
        recipe, model, target = self.recipe, self.model, self.embeds(images)
        normal = clip_normalise(images / 2 + 0.5)
        if recipe.mixup and isinstance(encoder := model.visual_encoder, InceptionEncoder):
            mixing = mixed(seeds, recipe.mixup).to(target)
            target, places = mixing @ target, torch.einsum("ij,jpc->ipc", mixing, encoder.seen(normal))
            queries = model.causal_embeddings_of(encoder.brought(places))
        else:
            queries = model.causal_embeddings(normal)
        z = model.encode_task_layer(queries).transpose(1, 2)[:, :, None]  # (B, code_dim, 1, queries)
        quantized, parts = self.quantized(z, step)
        codes = quantized[:, :, 0].transpose(1, 2)
        predicted = model.embeds_of(codes).float()
        parts["embedding"] = F.mse_loss(predicted, target)
        parts["cosine"] = unlike(predicted, target)
        parts["rebuild"] = unlike(model.rebuilt(codes), queries.detach())
        weights = {name: getattr(recipe, name) for name in ("embedding", "cosine", "rebuild", "codebook")}
        return predicted, sum((w * parts[k] for k, w in weights.items()), torch.zeros(())), parts

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Regression that becomes visible."""
        if self.recipe.stage == 3 and (predictor := self.unclip.predictor):
            more = self.recipe.visible(step + 1) - self.recipe.visible(step)
            predictor.weight.add_(self.regression, alpha=more)
        return super().after_step(step)

    def picture_losses(self, images: Tensor, seeds: Tensor, embeds: Tensor, visible: float = 1) -> dict[str, Tensor]:
        """Of what a few steps of the sampler make of predicted embeddings, by names of their weights.

        Args:
            visible: how much of the diffusion shows, 0 to 1.
        """
        recipe, content = self.recipe, self.content
        assert content is not None
        embeds = embeds + recipe.jitter * noise(seeds, embeds.shape[1:], "jitter").to(embeds)
        output = self.painted(embeds, seeds, recipe.few_steps, visible=visible).float()
        shown, meant = inception_features(self.inception, output[self.window(seeds)]), self.meant(images)
        *texture, contents = content.unlike(shown, meant)
        return {
            "lpips": self.lpips(output, images).mean() if recipe.lpips else torch.zeros(()),
            "colour": F.l1_loss(F.avg_pool2d(output, 8), F.avg_pool2d(images, 8)),
            "texture": torch.stack(texture).mean(),
            "content": contents,
            "contrast": content.contrast(shown, meant, recipe.temperature),
        }

    def window(self, seeds: Tensor) -> tuple[Any, ...]:
        """Where Inception looks in this step, 7/8 to all of the side: what it finds must not hang on exact pixels."""
        size = self.recipe.crop
        side = size - seed_of(int(seeds[0]), "side") % (size // 8 + 1)
        top, left = (seed_of(int(seeds[0]), name) % (size - side + 1) for name in ("top", "left"))
        return ..., slice(top, top + side), slice(left, left + side)

    def diffusion_loss(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Squared error of the velocity at a uniform time, on the teacher's embeddings."""
        unclip = self.unclip
        shape = unclip.latent_shape
        embeds = self.embeds(images)
        latents = self.latents(images, noise(seeds, shape, "posterior").to(images)) - unclip.predicted(embeds)
        draw = noise(seeds, shape, "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        labels = unclip.class_labels(embeds, noise(seeds, embeds.shape[1:], "embedding").to(embeds))
        dropped = [seed_of(s, "unconditional") % 1000 < 1000 * self.recipe.unconditional for s in seeds.tolist()]
        labels = labels.masked_fill(torch.tensor(dropped, device=labels.device)[:, None], 0.0)
        a = alphas_cumprod(unclip.config.scheduler).to(latents)[t][:, None, None, None]
        noised = a.sqrt() * latents + (1 - a).sqrt() * draw
        prompt = unclip.prompt_embeds().expand(len(labels), -1, -1)
        predicted = unclip.unet(noised, t, prompt, class_labels=labels, return_dict=False)[0]
        return F.mse_loss(predicted.float(), a.sqrt() * draw - (1 - a).sqrt() * latents)

    # -- pictures

    def painted(self, embeds: Tensor, seeds: Tensor, steps: int, guidance: float = 1.0, visible: float = 1.0) -> Tensor:
        """Embeddings (B, features) -> pictures about [-1, 1] (B, 3, S, S), as the tokenizer decodes: all `visible`."""
        unclip = self.unclip
        start = unclip.start(seeds).to(embeds)
        draw = noise(seeds, embeds.shape[1:], "embedding").to(embeds)
        latents = unclip.sample(embeds, start, draw, steps, guidance)
        if visible < 1:
            latents = torch.lerp(unclip.predicted(embeds), latents, visible)
        return unclip.decode_latents(latents.contiguous()) * 2 - 1

    @property
    def bits(self) -> float:
        """Of an image."""
        return self.recipe.model.queries * math.log2(self.recipe.model.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """What the tokenizer makes of images (B, 3, S, S) in [-1, 1], by 2 the decoder of the teacher's embeddings."""
        embeds = self.embeds(images) if self.recipe.stage == 2 else self.predicted(images)
        return self.painted(embeds, seeds, self.recipe.eval_steps).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Of the embeddings: error, and share whose nearest is the right one; of the pictures LPIPS, and that share by
        FID's features."""
        recipe = self.recipe
        device = self.teacher.mean.device
        images = torch.cat([to_tensor([centre_square(p.open_rgb(), recipe.crop)]) for p in photos]).to(device)
        seeds = torch.tensor([seed_of("held out", p.name) for p in photos])
        target = torch.cat([self.embeds(i) for i in images.split(1)])
        values: dict[str, float] = {}
        if recipe.stage != 2:
            ids = self.model.encode(clip_normalise(images / 2 + 0.5))
            predicted = self.model.image_embeds(ids)
            values = {
                "embedding": float(F.mse_loss(predicted, target)),
                "embedding_right": right(predicted, target),
                "codes_used": float(len(ids.unique())),
            }
        if recipe.stage == 1:
            return values, images[:8]
        pictures = torch.cat([self.reconstruct(i, s) for i, s in zip(images.split(1), seeds.split(1), strict=True)])
        pairs = list(zip(pictures.split(1), images.split(1), strict=True))
        values["lpips"] = math.fsum(float(self.lpips(o, i)) for o, i in pairs) / len(pairs)
        shown = torch.cat([inception_features(self.inception, o) for o, _ in pairs])
        values["right"] = right(fid_features(shown), fid_features(torch.cat([self.meant(i) for _, i in pairs])))
        return values, torch.stack([images[:8], pictures[:8]], 1).flatten(0, 1)

    def exported(self) -> dict[str, Tensor]:
        """Stage 1: quantizer and teacher; stage 2: the decoder without its VAE; stage 3: the tokenizer."""
        decoder = self.decoder_parts
        parts: Sequence[str] = {1: ("model", "teacher"), 2: decoder, 3: ("model", *decoder)}[self.recipe.stage]
        state = {k: v for k, v in self.state_dict().items() if not k.startswith(f"{PRETRAINED}.")}
        return {k: v for k, v in state.items() if k.startswith(tuple(f"{p}." for p in parts))}

    def notes(self) -> dict[str, Any]:
        return {"stage": self.recipe.stage, "scaling": self.recipe.vae.scaling}


def right(found: Tensor, originals: Tensor) -> float:
    """Share of (N, C) whose nearest of the originals (N, C) by cosine similarity is the one of the same row."""
    nearest = (F.normalize(found, dim=1) @ F.normalize(originals, dim=1).t()).argmax(1)
    return float((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean())


def alphas_cumprod(scheduler: Mapping[str, Any]) -> Tensor:
    """Of a scheduler's training times, (1000,)."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(**scheduler).alphas_cumprod
