"""The recipe of SeedTok's three stages."""

from __future__ import annotations

from dataclasses import dataclass

from lactok.config import Count, Positive, Share, Weight, Whole
from lactok.errors import UserError, unknown
from lactok.nn.seed import SeedConfig
from lactok.nn.unclip import UnCLIPShape
from lactok.training.codebook import CodebookRecipe
from lactok.training.ldm import VAEPart
from lactok.training.pretrained import shape_of
from lactok.training.teacher import LAYERS, SHARES


@dataclass(frozen=True, kw_only=True)
class SeedTokRecipe(CodebookRecipe):
    """A recipe of any stage; keys of other stages are ignored.

    Attributes:
        stage: 1 trains the quantizer, 2 the decoder, 3 both.
        model: shape of the quantizer. Stage 1 needs it; later stages take it from the weights of stage 1.
        unclip: shape of the decoder. Stage 2 needs it; stage 3 takes it from the weights of stage 2.
        vae: the VAE of the decoder's latents, for stages 2 and 3.
        quantizer: weights of the quantizer and the teacher that stage 1 wrote, for stages 2 and 3.
        decoder: weights of the decoder that stage 2 wrote, for stage 3.
        fit: number of training photographs, at most, to which the teacher and the decoder's predictor are fitted.
        embedding: weight of the squared error of the predicted embedding, whose target has variance 1.
        cosine: weight of one minus the cosine similarity of the predicted embedding and the teacher's.
        rebuild: weight of one minus the cosine similarity of the reconstructed Q-Former output and the original.
        mixup: share of stage 1's images that are replaced by mixtures of a few images of the batch, with random weights
            of length 1 for their deviations from the batch's mean. The features of the Inception encoder are mixed;
            the teacher's embeddings are linear in them, so the target is the same mixture of embeddings.
        unconditional: share of stage 2's images without an embedding, for classifier-free guidance.
        few_steps: number of sampler steps in stage 3, all of them with gradient.
        joint: whether stage 3 trains the quantizer as well, or only the decoder on the quantizer's predictions.
        lpips: weight of LPIPS in stage 3.
        colour: weight in stage 3 of the absolute error of the images at an eighth of their side.
        shares: the variances, relative to each other, that the teacher gives to each layer of AlexNet, to coarse
            colours and to Inception.
        judge: the network whose features `content`, `texture`, `contrast` and `settle` compare: "inception", or
            "alex", LPIPS's, which leaves Inception, and so rFID and KID, a judge that has not taught the decoder.
        content: weight of one minus the cosine similarity of the judge's last features, relative to their mean.
        texture: weight of the same for the spatial means of the judge's earlier feature maps.
        contrast: weight of the cross-entropy between the training photographs that are nearest to the decoded image and
            those that are nearest to its photograph, by the judge's last features.
        temperature: temperature of these two distributions.
        plain: number of steps at the beginning of stage 3 in which the decoder starts from one fixed image for all
            embeddings; for a decoder with a predictor.
        settle: number of steps, before the first one, that fit the fixed image to the mean of the photographs'
            features.
        fade: number of steps after `plain` in which the predictor's regression, the diffusion and the losses of pixels
            fade in.
        regression: share of the predictor's regression after it has faded in; below 1, the decoder follows the
            judge's losses more.
        jitter: standard deviation of noise that stage 3 adds to the embeddings, which have variance 1.
        eval_steps: number of sampler steps on held-out photographs, without guidance.
    """

    stage: Count
    model: SeedConfig | None = None
    unclip: UnCLIPShape | None = None
    vae: VAEPart | None = None
    quantizer: str = ""
    decoder: str = ""
    fit: Count = 4000
    embedding: Weight = 1.0
    cosine: Weight = 1.0
    rebuild: Weight = 0.1
    mixup: Share = 0.0
    unconditional: Share = 0.1
    few_steps: Count = 4
    joint: bool = True
    lpips: Weight = 0.5
    colour: Weight = 0.5
    shares: tuple[Positive, Positive, Positive] = SHARES
    judge: str = "inception"
    content: Weight = 1.0
    texture: Weight = 1.0
    contrast: Weight = 0.1
    temperature: Positive = 0.03
    plain: Whole = 0
    settle: Whole = 100
    fade: Whole = 0
    regression: Share = 1.0
    jitter: Weight = 0.0
    eval_steps: Count = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (1, 2, 3):
            raise UserError(f"stage = {self.stage}: 1 (quantizer), 2 (decoder) or 3 (both)")
        if (self.stage > 1 and not self.quantizer) or (self.stage == 3 and not self.decoder):
            raise UserError("stage 2 needs `quantizer`, what stage 1 wrote; stage 3 also `decoder`, what stage 2 wrote")
        if self.judge not in LAYERS:
            raise unknown("judge", self.judge, LAYERS)
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
        """Return the quantizer's shape, as the recipe or the weights of stage 1 state it.

        Raises:
            UserError: the weights do not exist, or the shape does not fit the recipe.
        """
        model = self.model or shape_of(self.quantizer, "model", SeedConfig, "quantizer")
        self._check_model(model)
        return model

    def decoder_shape(self) -> UnCLIPShape:
        """Return the decoder's shape, as the recipe or the weights of stage 2 state it.

        Raises:
            UserError: the weights do not exist, or the shape does not fit the recipe.
        """
        unclip = self.unclip or shape_of(self.decoder, "unclip", UnCLIPShape, "decoder")
        self._check_unclip(unclip)
        return unclip

    def visible(self, step: int) -> float:
        """Return the share to which regression and diffusion have faded in at a step of stage 3, 0 to 1."""
        if self.fade:
            return min(1.0, max(0.0, (step - self.plain) / self.fade))
        return float(step >= self.plain)

    def _check_model(self, model: SeedConfig) -> None:
        """Raise UserError if the quantizer's shape does not fit the recipe."""
        if self.crop != model.image_size or (not model.inception and self.crop % model.patch):
            raise UserError(f"crop = {self.crop} must be [model] image_size, and a multiple of patch")
        if model.hidden % 12 or model.hidden % model.heads or model.vit[0] % model.vit[2]:
            raise UserError("[model] hidden must be a multiple of 12 and of heads, vit's width of its heads")
        if self.mixup and not (self.stage == 1 and model.inception):
            raise UserError("mixup is for stage 1 and a visual encoder that is Inception")

    def _check_unclip(self, unclip: UnCLIPShape) -> None:
        """Raise UserError if the decoder's shape does not fit the recipe."""
        if (self.plain or self.fade) and not unclip.predictor:
            raise UserError("plain and fade are for a decoder with [unclip] predictor")
        if self.fsdp and unclip.predictor:
            raise UserError("fsdp does not work with [unclip] predictor; leave one of them out")
