"""Train a small text encoder on captions alone: a T5's encoder, in a folder that trainings of generators take.

The transformer of LlamaGen and LaCTokGen reads a caption as the mean of its features (see `lactok.nn.gpt.rotary_table`
for why). A text encoder that has read the web puts a sentence's meaning into each of its features; one that is trained
on a few thousand captions learns to by writing each caption again, by a linear layer, from the mean of its features.
"""

from lactok.training.text.learner import TextLearner
from lactok.training.text.recipe import TextRecipe
from lactok.training.text.trainer import TextTrainer

__all__ = ["TextLearner", "TextRecipe", "TextTrainer"]
