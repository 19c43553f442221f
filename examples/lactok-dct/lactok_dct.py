"""`dct-16`: an image tokenizer without weights, and an example of a plug-in for lactok.

Each block of 16x16 pixels becomes one id. Five numbers describe the block: its mean brightness, how its brightness
changes across and down, how blue and how red it is. These are the lowest coefficients of JPEG's transform. Each is
rounded to one of a few levels, and the five levels together are the digits of the id.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok import Tokenizer, TokenizerSpec, register

BLOCK = 16  # side of a block in pixels
SIDE = 256  # side of the image in pixels
# Numbers of levels of brightness, change across, change down, blue and red, chosen for the least error on photographs
# with a product of at most 4096. They are odd, so that one of the levels is 0 and grey stays grey.
LEVELS = (13, 3, 3, 5, 7)
REACH = (0.45, 0.16, 0.14, 0.14, 0.22)  # the lowest and the highest level stand for -REACH and REACH
# JPEG's brightness, blue and red, a row each, from red, green and blue; and the way back, again a row each
FROM_RGB = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))
TO_RGB = ((1.0, 1.0, 1.0), (0.0, -0.3441, 1.772), (1.402, -0.7141, 0.0))


@register(
    TokenizerSpec(
        name="dct-16",
        family="dct",
        tokens=(SIDE // BLOCK) ** 2,
        codebook_size=math.prod(LEVELS),
        input_size=SIDE,
        output_size=SIDE,
        license="MIT",
        paper="Ahmed et al. 1974, Discrete Cosine Transform",
        note="needs no weights",
    )
)
class DCT(Tokenizer):
    """The tokenizer: one convolution finds the five numbers of each block, a transposed one rebuilds the blocks."""

    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec)
        flat = torch.ones(BLOCK, BLOCK)
        across = torch.cos(math.pi * (torch.arange(BLOCK) + 0.5) / BLOCK).expand(BLOCK, BLOCK)
        waves = torch.stack([flat, across, across.T, flat, flat])[:, None]  # (5, 1, 16, 16)
        channels = [0, 0, 0, 1, 2]  # three of the five numbers describe the brightness, one the blue, one the red
        analysis = torch.tensor(FROM_RGB)[channels, :, None, None] * waves / waves.square().sum((2, 3), keepdim=True)
        self.register_buffer("analysis", analysis)  # (5, 3, 16, 16)
        self.register_buffer("synthesis", torch.tensor(TO_RGB)[channels, :, None, None] * waves)
        self.register_buffer("levels", torch.tensor(LEVELS).view(1, 5, 1, 1))
        self.register_buffer("reach", torch.tensor(REACH).view(1, 5, 1, 1))
        # what a digit counts in the id: 1, 13, 13 * 3, ...
        place_values = torch.tensor([math.prod(LEVELS[:i]) for i in range(5)])
        self.register_buffer("place_values", place_values.view(1, 5, 1, 1))

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        coefficients = F.conv2d(images - 0.5, self.analysis, stride=BLOCK)  # (B, 5, 16, 16), 0 for grey
        positions = (coefficients / self.reach + 1) / 2 * (self.levels - 1)  # [-REACH, REACH] -> [0, levels - 1]
        digits = positions.round().clamp(min=0).minimum(self.levels - 1).long()
        return (digits * self.place_values).sum(1).flatten(1)  # (B, 256), row by row

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        digits = ids.view(-1, 1, SIDE // BLOCK, SIDE // BLOCK) // self.place_values % self.levels
        coefficients = (digits / (self.levels - 1) * 2 - 1) * self.reach
        return F.conv_transpose2d(coefficients, self.synthesis, stride=BLOCK) + 0.5
