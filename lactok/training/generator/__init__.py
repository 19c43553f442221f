"""Train a transformer that predicts a tokenizer's ids from a caption: LaCTokGen, or LlamaGen's of any other tokenizer.

Source: arXiv 2503.08377, section 4.3 and appendix A, and LlamaGen's trainer (arXiv 2406.06525), from whose published
transformer LaCTokGen starts. First every picture's ids and every caption's features are computed once and stored
(`extract`, `text`, `captions`); the tokenizer and the text encoder are released then, and the transformer is trained on
what is stored (`pairs`, `learner`). What is trained can be loaded by `trained`.
"""

from __future__ import annotations

from lactok.training.generator.learner import GeneratorLearner
from lactok.training.generator.recipe import GeneratorRecipe, GeneratorShape
from lactok.training.generator.trained import trained
from lactok.training.generator.trainer import GeneratorTrainer

__all__ = ["GeneratorLearner", "GeneratorRecipe", "GeneratorShape", "GeneratorTrainer", "trained"]
