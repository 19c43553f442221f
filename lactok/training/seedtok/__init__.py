"""Train SeedTok: a quantizer that predicts an image embedding, and a diffusion decoder of this embedding.

Source: Ge et al. 2023, arXiv 2310.01218, section 3.2, with smaller networks. Stage 1 (`quantizer`) trains the quantizer
to predict the teacher's embedding and to reconstruct the output of its own Q-Former. Stage 2 (`decoder`) trains the
diffusion decoder on the teacher's embeddings. Stage 3 (`joint`) trains both further: the image that a few steps of the
sampler decode from the ids is compared with the photograph. SEED has no stage 3; it fine-tunes a published decoder on
the predicted embeddings.
"""

from __future__ import annotations

from lactok.training.seedtok.decoder import DecoderLearner
from lactok.training.seedtok.joint import JointLearner
from lactok.training.seedtok.learner import SeedTokLearner
from lactok.training.seedtok.quantizer import QuantizerLearner
from lactok.training.seedtok.recipe import SeedTokRecipe

__all__ = ["SeedTokLearner", "SeedTokRecipe", "learner_of"]


def learner_of(recipe: SeedTokRecipe) -> SeedTokLearner:
    """Return the learner of the recipe's stage."""
    if recipe.stage == 1:
        return QuantizerLearner(recipe)
    if recipe.stage == 2:
        return DecoderLearner(recipe)
    return JointLearner(recipe)
