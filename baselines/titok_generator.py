"""TiTok's generators of an ImageNet class (Yu et al. 2024); the networks are in `lactok.nn.titok_generator`.

Two settings by name: `fid`, the official sampling script's, of which the paper's FID is; and `demo`, the README's,
which makes nicer and less varied pictures. Source: bytedance/1d-tokenizer `configs/infer/TiTok/*.yaml`, README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from baselines.id_generator import IdGenerator
from lactok.nn.maskgit_sampling import MaskGITSampling
from lactok.nn.recognise import load_strict
from lactok.nn.titok_generator import MaskedTransformerConfig, build, generate
from lactok.randomness import uniform
from lactok.registry import register_generator
from lactok.specs import Asset, GeneratorSpec, Hub, Option

BERT = MaskedTransformerConfig()
UVIT = MaskedTransformerConfig("uvit", width=1024, layers=20, heads=16, hidden=4096)
CONFIGS = {
    "titok-l32-gen": replace(BERT, tokens=32),
    "titok-b64-gen": replace(BERT, tokens=64),
    "titok-s128-gen": replace(UVIT, tokens=128),
}
FID = {
    "titok-l32-gen": MaskGITSampling(8, 4.5, "linear", temperature=9.5),
    "titok-b64-gen": MaskGITSampling(8, 3.0, "linear", temperature=11.0),
    "titok-s128-gen": MaskGITSampling(64, 6.9, "power-cosine", temperature=2.8),
}
MEGABYTES = {"l32": 709, "b64": 709, "s128": 1180}


def demo(how: MaskGITSampling) -> MaskGITSampling:
    """Return the README's setting with the number of steps of `how`."""
    return MaskGITSampling(how.steps, 4.5, "constant", temperature=1.0, annealing=False)


def _spec(name: str) -> GeneratorSpec:
    """Return the spec of one of `CONFIGS`."""
    short = name.removeprefix("titok-").removesuffix("-gen")
    sources = (
        Hub(f"yucornetto/generator_titok_{short}_imagenet", "model.safetensors"),
        Hub("fun-research/TiTok", f"generator_titok_{short}.bin"),
    )
    how = FID[name]
    return GeneratorSpec(
        name,
        "titok",
        "class",
        256,
        "Apache-2.0",
        tokenizer=f"titok-{short}",
        options={
            "setting": Option("fid", "of the official script, or of the README's demo", choices=("fid", "demo")),
            "steps": Option(how.steps, "number of steps", 1, 1000),
        },
        paper="Yu et al. 2024, arXiv 2406.07550",
        assets=(Asset(name, "Apache-2.0", sources, size=MEGABYTES[short] * 10**6),),
    )


@register_generator(_spec("titok-l32-gen"), config=CONFIGS["titok-l32-gen"], how=FID["titok-l32-gen"])
@register_generator(_spec("titok-b64-gen"), config=CONFIGS["titok-b64-gen"], how=FID["titok-b64-gen"])
@register_generator(_spec("titok-s128-gen"), config=CONFIGS["titok-s128-gen"], how=FID["titok-s128-gen"])
class TiTokGenerator(IdGenerator):
    """A TiTok generator.

    Args:
        spec: the generator's spec.
        config: the shape of its network.
        how: the setting `fid`.
    """

    def __init__(self, spec: GeneratorSpec, config: MaskedTransformerConfig, how: MaskGITSampling):
        super().__init__(spec)
        self.config = config
        how = how if spec.values.get("setting", "fid") == "fid" else demo(how)
        self.how = replace(how, steps=int(spec.values.get("steps", how.steps)))
        self.model = build(config)

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the network."""
        (tensors,) = assets.values()
        load_strict(self.model, tensors, self.spec.name)

    def _ids(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        labels = torch.tensor(conditions, device=self.device)

        def draws(use: str, shape: tuple[int, ...]) -> Tensor:
            return uniform(seeds, shape, use)

        return generate(self.model, self.config, labels, draws, self.how)
