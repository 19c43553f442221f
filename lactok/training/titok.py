"""Trains TiTok of the first layout (ids of a MaskGIT-VQGAN as a detour) in its two stages.

Source: Yu et al. 2024, arXiv 2406.07550, section 3.2. Stage 1: encoder, codebook and 1D decoder learn, by cross-entropy
and the codebook's loss, to predict the ids of a frozen VQGAN. Stage 2: encoder and codebook are frozen; the 1D decoder
and the VQGAN's codes and decoder learn by L2 and LPIPS on pixels. The paper's second stage has an adversary too and
ConvNeXt's features for LPIPS. Ours: revival of dead codes, and what the recipe names so.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.errors import UserError, unknown
from lactok.nn.lpips import load_lpips
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.randomness import seed_of
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo
from lactok.training.feature_cache import Frozen
from lactok.training.held_out import compare
from lactok.training.maskgit_vqgan import check_pixel
from lactok.training.positional import cell_places, patch_places, sincos
from lactok.training.pretrained import load_weights, shape_of

FROZEN_1 = ("pixel_quantize", "pixel_decoder")
FROZEN_2 = ("encoder", "latent_tokens", "quantize")


@dataclass(frozen=True, kw_only=True)
class TiTokRecipe(CodebookRecipe):
    """Either stage.

    Attributes:
        stage: 1 or 2.
        model: the shape, which stage 1 states and stage 2 takes from the weights of stage 1. Its `pixel` is the
            VQGAN's, where that one's weights say their shape.
        proxy: stage 1's: weights of the VQGAN.
        start: stage 2's: weights of stage 1.
        pixels: weight, in stage 1, of the squared error between the mean code under the predicted distribution and the
            VQGAN's code, relative to the codes' variance; the paper has none.
        l2: weight of the squared error of pixels in [-1, 1] in stage 2.
        lpips, lpips_net: stage 2's weight of LPIPS; alex or vgg.
        places: stage 1 starts from codes of places: patches from their own, tokens from those of so many rows and
            columns of cells, queries like keys; so attention starts between what is near. Empty: from noise, as the
            authors.
        window: stage 2 compares a random square of so many codes a side of each picture; 0: all of it, as the paper.
    """

    stage: int
    model: TiTokConfig | None = None
    proxy: str = ""
    start: str = ""
    pixels: float = 0.0
    places: tuple[int, ...] = ()
    l2: float = 1.0
    lpips: float = 0.1
    lpips_net: str = "alex"
    window: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (1, 2):
            raise UserError(f"stage = {self.stage}: 1 or 2")
        if bool(self.proxy) != (self.stage == 1) or bool(self.start) != (self.stage == 2):
            raise UserError("stage 1 needs `proxy`, the VQGAN's weights; stage 2 needs `start`, those of stage 1")
        if self.lpips_net not in ("alex", "vgg"):
            raise unknown("lpips_net", self.lpips_net, ("alex", "vgg"))
        if self.model:
            self._check(self.model)
        elif self.stage == 1:
            raise UserError("stage 1 needs [model], the shape of the network")

    def shape(self) -> TiTokConfig:
        """The shape of the network, checked against the rest of the recipe; reads the heads of weight files.

        Raises:
            UserError: weights that are missing, or a shape that does not fit the recipe.
        """
        if self.stage == 2:
            model = self.model or shape_of(self.start, "model", TiTokConfig, "start")
        else:
            assert self.model
            pixel = shape_of(self.proxy, "model", MaskGITConfig, "proxy", self.model.pixel)
            model = replace(self.model, pixel=pixel)
        self._check(model)
        return model

    def _check(self, model: TiTokConfig) -> None:
        if not model.legacy:
            raise UserError("model.legacy = false: only the first layout, which predicts a VQGAN's ids, is trained")
        check_pixel(model.pixel)
        if self.crop != model.image_size:
            raise UserError(
                f"crop = {self.crop}: must be model.image_size = {model.image_size}, its positions are fixed"
            )
        if model.patch != 2 ** (len(model.pixel.channel_mult) - 1):
            raise UserError("model.patch must be a code's pixels along a side, 2^(levels of model.pixel - 1)")
        if self.places and (len(self.places) != 2 or math.prod(self.places) != model.tokens):
            raise UserError(f"places: rows and columns that make model.tokens = {model.tokens} cells")
        if not 0 <= self.window <= model.grid:
            raise UserError(f"window = {self.window}: 0 to {model.grid} codes")


class TiTokLearner(CodebookLearner):
    def __init__(self, recipe: TiTokRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.shape = recipe.shape()
        self.model = TiTok(self.shape)
        self.proxy: MaskGITVQGAN | None = None
        if recipe.stage == 1:
            self._load_proxy()
            if recipe.places:
                self._start_from_places()
            self.watch(recipe, self.model.quantize, "model.quantize.embedding.weight")
        else:
            load_weights(self.model, recipe.start, "start", stage=1)
        for name in FROZEN_1 if recipe.stage == 1 else FROZEN_2:
            part = getattr(self.model, name)
            part.requires_grad_(False)
        keep = recipe.variants > 0
        self.targets = Frozen(self.proxy_ids, keep)
        self.ids = Frozen(lambda images: self.model.encode(images / 2 + 0.5), keep)
        self.lpips = copy.deepcopy(load_lpips(recipe.lpips_net, "cpu"))  # moved and sharded with the rest

    def proxy_ids(self, images: Tensor) -> Tensor:
        """The VQGAN's ids (B, h, w) of images in [-1, 1]."""
        assert self.proxy is not None
        return self.proxy.encode(images / 2 + 0.5)

    def _load_proxy(self) -> None:
        """The VQGAN, and its codes and decoder as TiTok's own."""
        proxy = MaskGITVQGAN(self.shape.pixel)
        load_weights(proxy, self.recipe.proxy, "proxy")
        self.proxy = proxy.requires_grad_(False)
        self.model.pixel_quantize.load_state_dict(proxy.quantize.state_dict())
        self.model.pixel_decoder.load_state_dict(proxy.decoder.state_dict())

    @torch.no_grad()
    def _start_from_places(self) -> None:
        """See `places` of the recipe."""
        model, grid = self.model, self.shape.grid
        rows, columns = self.recipe.places
        model.latent_tokens.mul_(0.1)
        # what a picture says counts as much as where it is said: patches answer to differences from mid-grey
        embed = model.encoder.patch_embed
        embed.weight.mul_(5.0)
        embed.get_parameter("bias").copy_(-0.5 * embed.weight.sum((1, 2, 3)))
        model.decoder.decoder_embed.weight.mul_(4.0)
        for vit in (model.encoder, model.decoder):
            width = vit.positional_embedding.shape[1]
            vit.positional_embedding[1:] = sincos(width, patch_places(grid))
            vit.latent_token_positional_embedding.copy_(sincos(width, cell_places(grid, rows, columns)))
            for block in vit.transformer:
                query, key, _ = block.get_parameter("attn.in_proj_weight").chunk(3)
                key.copy_(query.mul_(1.7))

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """As the authors: no embeddings, tables or tokens."""
        return super().decayed(name, parameter) and not any(part in name for part in ("embed", "token"))

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.predict(images, step) if self.recipe.stage == 1 else self.paint(images, seeds)

    def predict(self, images: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Stage 1: cross-entropy with the VQGAN's ids."""
        recipe, model = self.recipe, self.model
        targets = self.targets(images)
        codes, parts = self.quantized(model.encode_features(images / 2 + 0.5), step)
        logits = model.decoder(codes).float()
        parts["cross_entropy"] = F.cross_entropy(logits, targets)
        loss = parts["cross_entropy"] + recipe.codebook * parts["codebook"]
        if recipe.pixels:
            table = model.pixel_quantize.embedding.weight
            true = table[targets].permute(0, 3, 1, 2)
            parts["pixels"] = F.mse_loss(model.soft_pixel_codes(logits).float(), true) / table.var(0).mean()
            loss = loss + recipe.pixels * parts["pixels"]
        return loss, parts

    def paint(self, images: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Stage 2: squared error and LPIPS of pixels."""
        recipe, model = self.recipe, self.model
        codes = model.quantize.lookup(self.ids(images)[:, None])
        pixel_codes = model.soft_pixel_codes(model.decoder(codes).float())
        if recipe.window:
            pixel_codes, images = self.windows(pixel_codes, images, seeds)
        output = model.pixel_decoder(pixel_codes).float() * 2 - 1
        parts = {"l2": F.mse_loss(output, images), "lpips": self.lpips(output, images).float().mean()}
        return recipe.l2 * parts["l2"] + recipe.lpips * parts["lpips"], parts

    def windows(self, pixel_codes: Tensor, images: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """A square of each picture: its codes (B, C, w, w) and pixels (B, 3, w*p, w*p)."""
        side, patch = self.recipe.window, self.shape.patch
        places = self.shape.grid - side + 1
        codes, pixels = [], []
        for i, seed in enumerate(seeds.tolist()):
            top, left = divmod(seed_of(seed, "window", 0) % places**2, places)
            codes.append(pixel_codes[i, :, top : top + side, left : left + side])
            rows = slice(top * patch, (top + side) * patch)
            pixels.append(images[i, :, rows, left * patch : (left + side) * patch])
        layout = torch.channels_last
        return torch.stack(codes).contiguous(memory_format=layout), torch.stack(pixels).contiguous(memory_format=layout)

    @property
    def bits(self) -> float:
        """Of an image."""
        return self.shape.tokens * math.log2(self.shape.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        return (self.model.decode(self.model.encode(images / 2 + 0.5)) * 2 - 1).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """In stage 1 with the VQGAN's own decoder, and the cross-entropy."""
        entropies = []

        def reconstruct(image: Tensor) -> tuple[Tensor, Tensor]:
            ids = self.model.encode(image / 2 + 0.5)
            logits = self.model.decoder(self.model.quantize.lookup(ids[:, None]))
            if self.recipe.stage == 1:
                entropies.append(F.cross_entropy(logits, self.proxy_ids(image)))
            return self.model.pixel_decoder(self.model.soft_pixel_codes(logits)) * 2 - 1, ids

        values, pictures = compare(photos, self.recipe.crop, reconstruct, self.lpips)
        if entropies:
            values["cross_entropy"] = float(torch.stack(entropies).mean())
        return values, pictures

    def notes(self) -> dict[str, Any]:
        return {"stage": self.recipe.stage, "config": {"model": asdict(self.shape)}}

    def exported(self) -> dict[str, Tensor]:
        return self.model.state_dict()
