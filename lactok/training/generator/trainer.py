"""The shared trainer on stored ids and text features; it evaluates the loss on held-out pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.files import write_atomically
from lactok.training import checkpoint, distributed
from lactok.training.generator.learner import GeneratorLearner
from lactok.training.generator.pairs import Pairs, prepared
from lactok.training.generator.recipe import GeneratorRecipe
from lactok.training.trainer import Trainer
from lactok.weights import metadata

if TYPE_CHECKING:
    from accelerate import Accelerator

ADAPTER = '''"""What `python -m lactok.train generator` trained here: `--generator {file}:Trained`."""

from pathlib import Path

from lactok.training.generator import trained

Trained = trained(Path(__file__).with_suffix(".safetensors"))
'''


class GeneratorTrainer(Trainer[GeneratorRecipe]):
    """The shared trainer; before the first step ids and text features are extracted, once.

    The run's folder holds no pictures, but the ids and features (`extracted`, unless the recipe says where), and beside
    NAME.safetensors a file NAME.py, by which commands find what was trained: `--generator OUT/NAME.py:Trained`.

    Args:
        recipe, learner, out, accelerator: as of `Trainer`.

    Raises:
        UserError: as of `Trainer`, and of `prepared`.
    """

    def __init__(self, recipe: GeneratorRecipe, learner: GeneratorLearner, out: Path, accelerator: Accelerator):
        self.recipe, self.learner, self.out, self.accelerator = recipe, learner, out, accelerator
        self._check()  # before the extraction, which may take long
        out.mkdir(parents=True, exist_ok=True)
        self.pairs = learner.pairs = prepared(recipe, learner.text, learner.model.config.text_tokens, out, accelerator)
        super().__init__(recipe, learner, out, accelerator)

    def find_photos(self) -> Pairs:
        """Return the pairs."""
        return self.pairs

    def resume(self) -> None:
        """Restore the state of the checkpoint, if there is one; see `Trainer.resume`."""
        if self.state_path.exists():
            stored = metadata.notes(self.state_path)
            is_own = stored.get("digest") == self.recipe.digest
            if is_own and stored.get("data", self.data_digest) != self.data_digest:
                raise UserError(
                    f"{self.state_path} was trained on other pictures, captions or ids than {self.recipe.data}, "
                    f"{self.recipe.tokenizer} and {self.recipe.text} give now; bring them back, choose another `out`, "
                    "or delete it"
                )
        super().resume()

    def evaluate(self) -> None:
        """Evaluate on the held-out pairs, log the values, and write the weights in fp16 and the file NAME.py.

        The processes share the pairs, and compute in the recipe's precision.
        """
        main = self.accelerator.is_main_process
        with self.evaluating():
            with distributed.unsharded(self.learner), self.accelerator.autocast():
                values, _ = self.learner.evaluate(())
            tensors = self.exported()
        if not main:
            return
        checkpoint.save_state(self.export_path, tensors, self.notes())
        adapter = self.export_path.with_suffix(".py")
        write_atomically(adapter, ADAPTER.format(file=adapter.name).encode())
        self.record.log("held_out", self.step, values, prefix="held_out_")
