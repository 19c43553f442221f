"""Show-o (Xie et al. 2024): images from text, and its image tokenizer; the networks are in `lactok.nn`.

Source: showlab/Show-o `inference_t2i.py`. The repository names no guidance or number of steps for GenEval: 5 and 50 are
its README's for 512 px, 1.75 and 18 its earlier ones for 256 px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from baselines.id_generator import IdGenerator
from baselines.id_map import MapTokenizer
from lactok.errors import UserError
from lactok.nn.loading import tell_cut, tokenizer_json
from lactok.nn.magvit_v2 import MagvitConfig, MagvitV2
from lactok.nn.recognise import load_strict
from lactok.nn.show_o import ShowO, ShowOConfig, ShowOSampling, generate, is_cut, prompt_ids
from lactok.randomness import uniform
from lactok.registry import register, register_generator
from lactok.specs import Asset, GeneratorSpec, Hub, Option, TokenizerSpec

PAPER = "Xie et al. 2024, arXiv 2408.12528"
TEXTS = Asset("phi-1_5-tokenizer", "MIT", (Hub("microsoft/phi-1_5", "tokenizer.json"),), size=2_110_000)
FILE = "pytorch_model.safetensors"
SMALL = ShowOConfig()
LARGE = replace(SMALL, image_tokens=1024)


def _tokenizer_spec(name: str) -> TokenizerSpec:
    asset = Asset(name, "MIT", (Hub("showlab/magvitv2", FILE),), size=382_000_000)
    return TokenizerSpec(
        name,
        "magvit-v2",
        tokens=256,
        codebook_size=8192,
        input_size=256,
        output_size=256,
        license="MIT",
        options={"input": Option(256, "side of the image in pixels, in and out", choices=(256, 512))},
        paper=PAPER,
        assets=(asset,),
    )


@register(_tokenizer_spec("magvit-v2-showo"))
class MagvitTokenizer(MapTokenizer):
    """Show-o's image tokenizer; `config` is the shape of its network."""

    def __init__(self, spec: TokenizerSpec, config: MagvitConfig | None = None):
        super().__init__(spec, MagvitV2(config or MagvitConfig()))


def _spec(name: str, repository: str, size: int, steps: int, guidance: float) -> GeneratorSpec:
    asset = Asset(name, "Apache-2.0", (Hub(repository, FILE),), size=5_790_000_000)
    return GeneratorSpec(
        name,
        "show-o",
        "text",
        size,
        "Apache-2.0",
        tokenizer="magvit-v2-showo" if size == 256 else f"magvit-v2-showo@input={size}",
        options={
            "steps": Option(steps, "number of steps", 1, 1000),
            "guidance": Option(guidance, "scale of classifier-free guidance; 0 switches it off", 0.0, 100.0),
        },
        paper=PAPER,
        assets=(asset, TEXTS),
        note="guidance and steps are its README's; it names none for GenEval",
    )


@register_generator(_spec("show-o-256", "showlab/show-o", 256, 18, 1.75))
@register_generator(_spec("show-o-512", "showlab/show-o-512x512", 512, 50, 5.0), config=LARGE)
class ShowOGenerator(IdGenerator):
    """A Show-o; `config` is the shape of its language model."""

    def __init__(self, spec: GeneratorSpec, config: ShowOConfig = SMALL):
        super().__init__(spec)
        self.model = ShowO(config)
        self.how = ShowOSampling(int(spec.values["steps"]), float(spec.values["guidance"]))

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the language model and the text tokenizer.

        Raises:
            UserError: the text tokenizer is another one: it has not as many tokens as the network's vocabulary.
        """
        own, _ = assets.values()
        load_strict(self.model, own, self.spec.name)
        self.texts = tokenizer_json(self.spec.assets[1])
        count, needed = self.texts.get_vocab_size(), self.model.config.text_vocabulary
        if count != needed:
            raise UserError(
                f"{self.spec.assets[1].name} has {count} tokens and {self.spec.name} {needed}; is it the right file?"
            )

    def cut_captions(self, captions: Sequence[str]) -> tuple[int, list[str]]:
        """Return how many tokens of a caption are read, and the captions that have more."""
        config, texts = self.model.config, tokenizer_json(self.spec.assets[1])
        encoded = texts.encode_batch(list(captions))
        cut = [caption for caption, found in zip(captions, encoded, strict=True) if is_cut(found.ids, config)]
        return config.text_tokens, cut

    def _ids(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        config = self.model.config
        encoded = [self.texts.encode(str(caption)).ids for caption in conditions]
        cut = [str(caption) for caption, ids in zip(conditions, encoded, strict=True) if is_cut(ids, config)]
        tell_cut(self.spec.name, config.text_tokens, cut)
        prompts = torch.stack([prompt_ids(ids, config) for ids in encoded]).to(self.device)

        def draws(use: str, shape: tuple[int, ...]) -> Tensor:
            drawn = uniform(seeds, shape, use)
            return -drawn.log() if use.startswith("exponential") else drawn

        return generate(self.model, prompts, prompt_ids([], config), draws, self.how)
