"""Trains SeedTok: a quantizer that keeps an image embedding, a diffusion decoder of it, and both together.

Source: Ge et al. 2023, arXiv 2310.01218, section 3.2, with smaller parts. Stage 1 (`quantizer`) trains the quantizer to
predict the teacher's embedding and to rebuild its own Q-Former's output. Stage 2 (`decoder`) trains the diffusion
decoder on the teacher's embeddings. Stage 3 (`joint`) goes on with both: the picture that a few steps of the sampler
make of the ids is compared with the photograph. SEED has no stage 3; its decoder is a published one, which is tuned on
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
    """The networks of the recipe's stage."""
    stages: dict[int, type[QuantizerLearner | DecoderLearner | JointLearner]]
    stages = {1: QuantizerLearner, 2: DecoderLearner, 3: JointLearner}
    return stages[recipe.stage](recipe)
