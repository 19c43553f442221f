"""The recipe of SeedTok's three stages."""

from __future__ import annotations

from dataclasses import dataclass

from lactok.errors import UserError
from lactok.nn.seed import SeedConfig
from lactok.nn.unclip import UnCLIPShape
from lactok.training.codebook import CodebookRecipe
from lactok.training.ldm import VAEPart
from lactok.training.pretrained import shape_of


@dataclass(frozen=True, kw_only=True)
class SeedTokRecipe(CodebookRecipe):
    """A recipe of any stage; keys of other stages are passed over.

    Attributes:
        stage: 1 trains the quantizer, 2 the decoder, 3 both.
        model: the quantizer's shape, which stage 1 states and later stages take from its weights.
        unclip: the decoder's shape, which stage 2 states and stage 3 takes from its weights.
        vae: the VAE that the decoder works in, for stages 2 and 3.
        quantizer: the weights that stage 1 wrote, quantizer and teacher; stages 2 and 3 need them.
        decoder: the weights that stage 2 wrote; stage 3 needs them.
        fit: the greatest number of training photographs whose principal components the teacher takes.
        embedding: weight of the squared error of the predicted embedding, whose variance is 1.
        cosine: weight of one minus the cosine similarity of the predicted embedding and the teacher's.
        rebuild: weight of one minus the cosine similarity of the rebuilt Q-Former output.
        mixup: share of stage 1's pictures that are mixed from a few: deviations from the batch's mean, with random
            weights of length 1. Embeddings are linear in what the Inception encoder sees, so a mixture's is known.
        unconditional: share of stage 2's pictures without an embedding, for classifier-free guidance.
        few_steps: steps of the sampler in stage 3, all with gradient.
        joint: stage 3 teaches the quantizer as well; if false only the decoder, to paint what the quantizer predicts.
        lpips, colour: weights of stage 3's losses of pixels: LPIPS, and absolute error at an eighth of the side.
        content: weight of one minus the cosine similarity of Inception's features, relative to their mean.
        texture: the same of Inception's maps before the last, averaged over the picture.
        contrast: weight of a cross entropy: which training photographs are nearest to the picture, the target being
            those nearest to its photograph, by cosine similarity of Inception's features over `temperature`.
        plain: steps of stage 3 around one fixed picture, for a decoder with a predictor.
        settle: steps that fit the fixed picture to the mean of the photographs' Inception features, before the first.
        fade: steps in which regression and diffusion fade in, with the losses of pixels.
        regression: share of the regression that is there in the end; less leaves more to what Inception looks for.
        jitter: standard deviation of noise on the embeddings that stage 3 paints; the teacher's have variance 1.
        eval_steps: steps of the sampler on held-out photographs, without guidance.
    """

    stage: int
    model: SeedConfig | None = None
    unclip: UnCLIPShape | None = None
    vae: VAEPart | None = None
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
        if self.few_steps < 2:
            raise UserError(f"few_steps = {self.few_steps}: the sampler needs at least 2")
        if self.stage == 1 and not self.model:
            raise UserError("stage 1 needs [model], the quantizer's shape")
        if self.stage == 2 and not self.unclip:
            raise UserError("stage 2 needs [unclip], the decoder's shape")
        if self.stage > 1 and not self.vae:
            raise UserError(f"stage {self.stage} needs [vae], the VAE that the decoder works in")
        if self.model:
            self._check_model(self.model)
        if self.unclip:
            self._check_unclip(self.unclip)

    def quantizer_shape(self) -> SeedConfig:
        """The quantizer's shape, by the recipe or by the weights of stage 1; checked against the recipe."""
        model = self.model or shape_of(self.quantizer, "model", SeedConfig, "quantizer")
        self._check_model(model)
        return model

    def decoder_shape(self) -> UnCLIPShape:
        """The decoder's shape, by the recipe or by the weights of stage 2; checked against the recipe."""
        unclip = self.unclip or shape_of(self.decoder, "unclip", UnCLIPShape, "decoder")
        self._check_unclip(unclip)
        return unclip

    def visible(self, step: int) -> float:
        """How much of regression and diffusion stage 3 shows at a step, 0 to 1."""
        if self.fade:
            return min(1.0, max(0.0, (step - self.plain) / self.fade))
        return float(step >= self.plain)

    def _check_model(self, model: SeedConfig) -> None:
        if self.crop != model.image_size or (not model.inception and self.crop % model.patch):
            raise UserError(f"crop = {self.crop} must be [model] image_size, and a multiple of patch")
        if model.hidden % 12 or model.hidden % model.heads or model.vit[0] % model.vit[2]:
            raise UserError("[model] hidden must be a multiple of 12 and of heads, vit's width of its heads")
        if self.mixup and not (self.stage == 1 and model.inception):
            raise UserError("mixup is for stage 1 and a visual encoder that is Inception")

    def _check_unclip(self, unclip: UnCLIPShape) -> None:
        if (self.plain or self.fade) and not unclip.predictor:
            raise UserError("plain and fade are for a decoder with [unclip] predictor")
        if self.fsdp and unclip.predictor:
            raise UserError("fsdp does not work with [unclip] predictor; leave one of them out")
