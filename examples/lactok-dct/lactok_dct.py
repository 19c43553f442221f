"""`dct-16`: an image tokenizer without weights, and an example of a plug-in for lactok.

One id for each block of 16x16 pixels: how bright it is, how its brightness changes across and down, how blue and how
red it is. These are the lowest coefficients of JPEG's transform, each rounded to a few levels; together they are the
digits of one number.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok import Tokenizer, TokenizerSpec, register

BLOCK, SIDE = 16, 256
# Brightness, across, down, blue, red: the levels whose product fits 4096 with the least error on photographs. They are
# odd, so that grey stays grey.
LEVELS = (13, 3, 3, 5, 7)
REACH = (0.45, 0.16, 0.14, 0.14, 0.22)  # the outermost levels are -REACH and REACH
TO_YCC = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))  # JPEG's colours, a row each
TO_RGB = ((1.0, 1.0, 1.0), (0.0, -0.3441, 1.772), (1.402, -0.7141, 0.0))  # and what each adds to red, green, blue


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
    def __init__(self, spec: TokenizerSpec):
        super().__init__(spec)
        flat = torch.ones(BLOCK, BLOCK)
        across = torch.cos(math.pi * (torch.arange(BLOCK) + 0.5) / BLOCK).expand(BLOCK, BLOCK)
        waves = torch.stack([flat, across, across.T, flat, flat])[:, None]  # (5, 1, 16, 16)
        colours = [0, 0, 0, 1, 2]  # the first three are of the brightness
        analysis = torch.tensor(TO_YCC)[colours, :, None, None] * waves / waves.square().sum((2, 3), keepdim=True)
        self.register_buffer("analysis", analysis)  # (5, 3, 16, 16)
        self.register_buffer("synthesis", torch.tensor(TO_RGB)[colours, :, None, None] * waves)
        self.register_buffer("levels", torch.tensor(LEVELS).view(1, 5, 1, 1))
        self.register_buffer("reach", torch.tensor(REACH).view(1, 5, 1, 1))
        self.register_buffer("places", torch.tensor([math.prod(LEVELS[:i]) for i in range(5)]).view(1, 5, 1, 1))

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        coefficients = F.conv2d(images - 0.5, self.analysis, stride=BLOCK)  # (B, 5, 16, 16), about 0
        steps = (coefficients / self.reach + 1) / 2 * (self.levels - 1)
        digits = steps.round().clamp(min=0).minimum(self.levels - 1).long()
        return (digits * self.places).sum(1).flatten(1)  # (B, 256), row by row

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        digits = ids.view(-1, 1, SIDE // BLOCK, SIDE // BLOCK) // self.places % self.levels
        coefficients = (digits / (self.levels - 1) * 2 - 1) * self.reach
        return F.conv_transpose2d(coefficients, self.synthesis, stride=BLOCK) + 0.5
