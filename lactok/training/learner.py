"""What a trainer asks of the networks that it trains: a loss, figures on held-out photographs, weights to ship."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from lactok.training.data import Photo


class Learner(nn.Module):
    """The networks of a training and its loss as `forward`, so that wrappers of several processes see the loss.

    Parameters that require no gradient are frozen parts; they are neither optimized nor saved.

    Attributes:
        channels_last: the layout of its maps; convolutions on a CPU are up to twice as fast in it.
    """

    channels_last = True

    @abstractmethod
    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images (B, 3, S, S) in [-1, 1] and their seeds (B,) -> the loss, a mean over images, and its parts."""

    @abstractmethod
    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Figures on held-out photographs, and a few pictures (N, 3, H, W) in [-1, 1]; averaged weights are in."""

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """What the package ships of it; averaged weights are in."""

    def after_step(self, step: int) -> dict[str, Tensor]:
        """After the optimizer's step: name of a learned parameter -> rows (m,) that were overwritten, as revived codes.

        Their averages follow and the optimizer forgets them. Called without gradient.
        """
        return {}

    def remembered(self) -> dict[str, Tensor]:
        """What a checkpoint keeps besides what is learned; restored in place."""
        return {}

    def notes(self) -> dict[str, Any]:
        """What stands beside the exported weights, for trainings that take them (`pretrained.load_weights`)."""
        return {}

    def train(self, mode: bool = True) -> Learner:
        """Training mode for what learns; frozen parts stay in eval mode (LPIPS has dropout)."""
        super().train(mode)
        for part in self.children():
            if not any(p.requires_grad for p in part.parameters()):
                part.eval()
        return self

    def learned(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Weight decay goes to matrices and kernels, not to norms and biases."""
        return parameter.ndim > 1
