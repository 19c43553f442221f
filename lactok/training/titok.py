"""Train TiTok in its two stages; only its first layout, which decodes by way of a MaskGIT-VQGAN's ids, is trained.

Source: Yu et al. 2024, arXiv 2406.07550, section 3.2. In stage 1, the encoder, the codebook and the 1D decoder learn to
predict the ids of a frozen VQGAN, by cross-entropy and the codebook loss. In stage 2, the encoder and the codebook are
frozen, and the 1D decoder and the VQGAN's codebook and decoder learn by squared error and LPIPS of pixels. Unlike the
paper's, stage 2 has no discriminator, and LPIPS does not use ConvNeXt. Additions of this project are stage 3, in which
the whole network learns by the loss of pixels, the revival of dead codes, and the recipe's keys `pixels`, `places` and
`window`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Count, Weight, Whole
from lactok.errors import UserError
from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN
from lactok.nn.titok import TiTok, TiTokConfig
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo
from lactok.training.feature_cache import FeatureCache
from lactok.training.held_out import codes_used, compare
from lactok.training.maskgit_vqgan import check_widths
from lactok.training.pixel_loss import SquaredErrorRecipe
from lactok.training.positional import cell_positions, patch_positions, sincos_embedding
from lactok.training.pretrained import find_weights, load_weights, lpips_network, shape_of
from lactok.training.windows import random_windows
from lactok.weights.metadata import notes

# the submodules of TiTok that are frozen in each stage
FROZEN: dict[int, tuple[str, ...]] = {
    1: ("pixel_quantize", "pixel_decoder"),
    2: ("encoder", "latent_tokens", "quantize"),
    3: (),
}


@dataclass(frozen=True, kw_only=True)
class TiTokRecipe(CodebookRecipe, SquaredErrorRecipe):
    """A recipe for a stage of TiTok; the weights of the loss of pixels are those of stages 2 and 3.

    Attributes:
        stage: 1, 2 or 3.
        model: shape of the network. Stage 1 needs it; the others take it from the weights that they start from. Its
            `pixel`, the shape of the VQGAN, is replaced by the one that the VQGAN's weights state, if they do.
        proxy: weights of the VQGAN; for stage 1.
        start: weights of stage 1 for stage 2, of stage 2 or 3 for stage 3.
        pixels: weight in stage 1 of the squared error between the expected code under the predicted distribution and
            the VQGAN's code, relative to the variance of the codes; 0 in the paper.
        places: rows and columns of cells, one for each latent token. With it, stage 1 starts from sine-cosine
            positional embeddings, of patches and of these cells, and from keys equal to queries, so that attention
            starts between nearby tokens. Empty: from random embeddings, as in the paper.
        window: side, in codes of the VQGAN, of the random square of each image that stages 2 and 3 decode and compare;
            0: the whole image, as in the paper.
    """

    stage: Count
    model: TiTokConfig | None = None
    proxy: str = ""
    start: str = ""
    pixels: Weight = 0.0
    places: tuple[Count, ...] = ()
    window: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in FROZEN:
            raise UserError(f"stage = {self.stage}: 1, 2 or 3")
        if bool(self.proxy) != (self.stage == 1) or bool(self.start) != (self.stage > 1):
            raise UserError(
                "stage 1 needs `proxy`, the VQGAN's weights; stages 2 and 3 need `start`, those of the stage before"
            )
        if self.model:
            self._check(self.model)
        elif self.stage == 1:
            raise UserError("stage 1 needs [model], the shape of the network")

    def shape(self) -> TiTokConfig:
        """Return the shape of the network, by the recipe and by the metadata of the weight files.

        Raises:
            UserError: weights do not exist, or the shape does not fit the recipe.
        """
        if self.stage > 1:
            model = self.model or shape_of(self.start, "model", TiTokConfig, "start")
        else:
            assert self.model
            pixel = shape_of(self.proxy, "model", MaskGITConfig, "proxy", self.model.pixel)
            model = replace(self.model, pixel=pixel)
        self._check(model)
        return model

    def _check(self, model: TiTokConfig) -> None:
        """Raise UserError if the shape of the network does not fit the recipe."""
        if not model.legacy:
            raise UserError("model.legacy = false: only the first layout, which predicts a VQGAN's ids, is trained")
        check_widths(model.pixel)
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
    """TiTok and LPIPS, and in stage 1 the frozen VQGAN.

    Attributes:
        targets: the VQGAN's ids of images.
        ids: TiTok's own ids of images, which do not change in stage 2.
    """

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
                self._initialise_positions()
        elif recipe.stage == 2:
            load_weights(self.model, recipe.start, "start", stage=1)
        else:
            if notes(find_weights(recipe.start, "start")).get("stage") == 1:
                raise UserError(f"start = {recipe.start!r} is of stage 1; name the weights of stage 2 or 3")
            load_weights(self.model, recipe.start, "start")
        if recipe.stage != 2:
            self.track_codebook(recipe, self.model.quantize, "model.quantize.embedding.weight")
        if recipe.stage == 3:
            assert self.revival is not None
            self.revival.last_used.zero_()  # the codes are learned already, so step 0 moves none
        for name in FROZEN[recipe.stage]:
            getattr(self.model, name).requires_grad_(False)
        keep = recipe.variants > 0
        self.targets = FeatureCache(self.proxy_ids, keep)
        self.ids = FeatureCache(self.encode, keep)
        self.lpips = lpips_network(recipe.lpips_net)

    def proxy_ids(self, images: Tensor) -> Tensor:
        """Return the VQGAN's ids (B, h, w) of images (B, 3, S, S) in [-1, 1]."""
        assert self.proxy is not None
        return self.proxy.encode(images / 2 + 0.5)

    def encode(self, images: Tensor) -> Tensor:
        """Return TiTok's ids (B, tokens) of images (B, 3, S, S) in [-1, 1]."""
        return self.model.encode(images / 2 + 0.5)

    def _load_proxy(self) -> None:
        """Load the VQGAN, and copy its codebook and decoder into TiTok."""
        proxy = MaskGITVQGAN(self.shape.pixel)
        load_weights(proxy, self.recipe.proxy, "proxy")
        self.proxy = proxy.requires_grad_(False)
        self.model.pixel_quantize.load_state_dict(proxy.quantize.state_dict())
        self.model.pixel_decoder.load_state_dict(proxy.decoder.state_dict())

    @torch.no_grad()
    def _initialise_positions(self) -> None:
        """Initialise the network as `places` of the recipe describes."""
        model, grid = self.model, self.shape.grid
        rows, columns = self.recipe.places
        model.latent_tokens.mul_(0.1)
        # larger patch embeddings, relative to mid-grey, count as much in attention as the positional embeddings
        embed = model.encoder.patch_embed
        embed.weight.mul_(5.0)
        embed.get_parameter("bias").copy_(-0.5 * embed.weight.sum((1, 2, 3)))
        model.decoder.decoder_embed.weight.mul_(4.0)
        for vit in (model.encoder, model.decoder):
            width = vit.positional_embedding.shape[1]
            vit.positional_embedding[1:] = sincos_embedding(width, patch_positions(grid))
            cells = cell_positions(grid, rows, columns)
            vit.latent_token_positional_embedding.copy_(sincos_embedding(width, cells))
            for block in vit.transformer:
                query, key, _ = block.get_parameter("attn.in_proj_weight").chunk(3)
                key.copy_(query.mul_(1.7))

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """As `Learner.decayed`, without embeddings, codebooks and tokens, as the authors do."""
        return super().decayed(name, parameter) and "embed" not in name and "token" not in name

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the recipe's stage and its parts."""
        if self.recipe.stage == 1:
            return self.proxy_loss(images, step)
        return self.pixel_loss(images, seeds, step)

    def proxy_loss(self, images: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of stage 1, the cross-entropy with the VQGAN's ids and the codebook loss, and its parts."""
        recipe, model = self.recipe, self.model
        targets = self.targets(images)
        codes, parts = self.quantize(model.encode_features(images / 2 + 0.5), step)
        logits = model.decoder(codes).float()
        parts["cross_entropy"] = F.cross_entropy(logits, targets)
        loss = parts["cross_entropy"] + recipe.codebook * parts["codebook"]
        if recipe.pixels:
            codebook = model.pixel_quantize.embedding.weight
            target_codes = codebook[targets].permute(0, 3, 1, 2)
            error = F.mse_loss(model.soft_pixel_codes(logits).float(), target_codes)
            parts["pixels"] = error / codebook.var(0).mean()
            loss = loss + recipe.pixels * parts["pixels"]
        return loss, parts

    def pixel_loss(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of pixels, in stage 3 with that of the codebook, and its parts."""
        recipe, model = self.recipe, self.model
        parts: dict[str, Tensor] = {}
        if recipe.stage == 2:
            codes = model.quantize.lookup(self.ids(images)[:, None])
        else:
            codes, parts = self.quantize(model.encode_features(images / 2 + 0.5), step)
        pixel_codes = model.soft_pixel_codes(model.decoder(codes).float())
        if recipe.window:
            pixel_codes, images = random_windows(pixel_codes, images, seeds, recipe.window)
        output = model.pixel_decoder(pixel_codes).float() * 2 - 1
        loss, of_pixels = recipe.pixel_loss(self.lpips, output, images)
        if recipe.stage == 3:
            loss = loss + recipe.codebook * parts["codebook"]
        return loss, parts | of_pixels

    @property
    def bits(self) -> float:
        """The number of bits of an image's tokens."""
        return self.shape.tokens * math.log2(self.shape.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the reconstructions of images (B, 3, S, S) in [-1, 1]; the seeds are not used."""
        return (self.model.decode(self.encode(images)) * 2 - 1).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR, LPIPS and the number of codes in use, and reconstructions beside their photographs.

        In stage 1 the values also have the cross-entropy with the VQGAN's ids.
        """

        def reconstruct(image: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            ids = self.encode(image)
            logits = self.model.decoder(self.model.quantize.lookup(ids[:, None]))
            more = {"ids": ids}
            if self.recipe.stage == 1:
                more["entropy"] = F.cross_entropy(logits, self.proxy_ids(image))
            return self.model.pixel_decoder(self.model.soft_pixel_codes(logits)) * 2 - 1, more

        values, shown, more = compare(photos, self.recipe.crop, reconstruct, self.lpips)
        values["codes_used"] = codes_used(more["ids"])
        if self.recipe.stage == 1:
            values["cross_entropy"] = float(torch.stack(more["entropy"]).mean())
        return values, shown

    def notes(self) -> dict[str, Any]:
        """Return the stage and the shape of the network."""
        return {"stage": self.recipe.stage, "config": {"model": asdict(self.shape)}}

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of TiTok, the VQGAN's codebook and decoder included."""
        return self.model.state_dict()
