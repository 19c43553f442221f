"""The shared trainer on captions; it writes the encoder as a folder that a generator's recipe takes as `text`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lactok.files import write_atomically
from lactok.training import checkpoint, distributed
from lactok.training.text.captions import Captions
from lactok.training.text.learner import TextLearner
from lactok.training.text.recipe import TextRecipe
from lactok.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator


class TextTrainer(Trainer[TextRecipe]):
    """The shared trainer; the run's folder holds no pictures, but the encoder in the folder `text`.

    Args:
        recipe, learner, out, accelerator: as of `Trainer`.
    """

    def __init__(self, recipe: TextRecipe, learner: TextLearner, out: Path, accelerator: Accelerator):
        self.captions = learner.captions
        super().__init__(recipe, learner, out, accelerator)
        if accelerator.is_main_process:
            held = "".join(f"{line}\n" for line in learner.captions.held_lines)
            write_atomically(out / "held-out.txt", held.encode())

    def find_photos(self) -> Captions:
        """Return the captions."""
        return self.captions

    def evaluate(self) -> None:
        """Evaluate on the held-out captions, log the values, and write the encoder's folder."""
        main = self.accelerator.is_main_process
        learner = self.learner
        assert isinstance(learner, TextLearner)
        with self.evaluating():
            with distributed.unsharded(learner), self.accelerator.autocast():
                values, _ = learner.evaluate(())
            tensors = self.exported()
        if not main:
            return
        folder = self.out / "text"
        folder.mkdir(exist_ok=True)
        shape = learner.encoder.encoder.config.to_diff_dict()
        write_atomically(folder / "config.json", json.dumps(shape, indent=2).encode())
        write_atomically(folder / "tokenizer.json", learner.words.to_str().encode())
        checkpoint.save_state(folder / "model.safetensors", tensors, self.notes())
        checkpoint.save_state(self.export_path, tensors, self.notes())
        words = torch.tensor(list(learner.words.to_str().encode()), dtype=torch.uint8)
        checkpoint.save_state(self.out / f"{self.recipe.name}-words.safetensors", {"json": words}, {})
        self.record.log("held_out", self.step, values, prefix="held_out_")
