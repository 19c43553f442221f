"""The interface between the trainer and the networks that it trains: loss, evaluation, exported weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from lactok.training.data import Photo


class Learner(nn.Module):
    """The networks of a training, frozen ones included, and its loss.

    The loss is `forward`, because the wrappers of distributed training handle gradients only in `forward`. Parameters
    that require no gradient belong to frozen parts; they are neither optimized nor saved in checkpoints.

    Attributes:
        channels_last: whether feature maps have the channels-last layout, in which convolutions on a CPU are up to
            twice as fast.
    """

    channels_last = True

    @abstractmethod
    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss.

        Args:
            images: (B, 3, S, S) in [-1, 1].
            seeds: one seed per image, (B,) int64; all random numbers of the loss come from them and from the step.
            step: number of steps before this one.

        Returns:
            The loss, a mean over images, and its parts by name, which are logged.
        """

    @abstractmethod
    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate the learner, which holds the averaged weights, on held-out photographs.

        All processes call it, in the recipe's precision, and share the photographs by `distributed.each`.

        Returns:
            Values by name, which are logged, and a few images (N, 3, H, W) in [-1, 1].
        """

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the weight file that the training writes; the learner holds the averaged weights."""

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Do what follows the optimizer's step, such as reviving dead codes; called without gradient.

        Returns:
            The rows (m,) that were overwritten in learned parameters, by the parameter's name. The trainer overwrites
            the averaged weights of these rows too and resets their optimizer state.
        """
        return {}

    def remembered(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint keeps besides the learned parameters.

        On resuming, the values of the checkpoint are copied into these tensors.
        """
        return {}

    def notes(self) -> dict[str, Any]:
        """Return the metadata of the exported weight file, which `pretrained.load_weights` checks."""
        return {}

    def train(self, mode: bool = True) -> Learner:
        """Set the training mode of the parts that learn; frozen parts stay in eval mode, as LPIPS has dropout."""
        super().train(mode)
        for part in self.children():
            if not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self

    def learned(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether a learned parameter has weight decay: matrices and kernels have, norms and biases have not."""
        return parameter.ndim > 1
