"""HART (Tang et al. 2024): images of 1024 px from text; the networks are in `lactok.nn`.

Source: mit-han-lab/hart `sample.py`, `hart/utils/`. The original computes in float16 with a fused kernel; here it is
float32. Its text encoder is the text part of a Qwen2-VL, which reads a fixed system prompt and then the caption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lactok.nn.hart import HART, HARTConfig, HARTSampling, generate
from lactok.nn.hart_checkpoint import ASSETS, config_of, parsed, system_prompt
from lactok.nn.loading import Texts, tell_cut, tokenizer_json
from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ
from lactok.nn.recognise import load_strict
from lactok.randomness import noise, uniform
from lactok.registry import register_generator
from lactok.specs import GeneratorSpec, Option
from lactok.tokenizer import Generator

PAD = "<|endoftext|>"
OPTIONS = {
    "guidance": Option(4.5, "scale of classifier-free guidance at the last scale; 0 switches it off", 0.0, 100.0),
    "smooth": Option("yes", "whether maps of codes are mixtures, as in the authors' demo", choices=("yes", "no")),
}


def tokenizer_shape(config: HARTConfig) -> MultiScaleConfig:
    """Return the shape of the tokenizer that belongs to a transformer."""
    return MultiScaleConfig(z_channels=config.code_dim, codebook_size=config.codebook_size, sides=config.sides)


@register_generator(
    GeneratorSpec(
        "hart-0.7b",
        "hart",
        "text",
        1024,
        "MIT; text encoder Apache-2.0",
        options=OPTIONS,
        paper="Tang et al. 2024, arXiv 2410.10812",
        assets=ASSETS,
        note="its files were not opened here; float32 instead of the authors' float16 with a fused kernel",
    ),
    config=HARTConfig(),
)
class HARTGenerator(Generator):
    """A HART.

    Args:
        spec: the generator's spec.
        config: shape of the transformer, until the checkpoint's own is read.
        tokenizer: shape of the tokenizer; by default the one that belongs to the transformer.
    """

    def __init__(self, spec: GeneratorSpec, config: HARTConfig, tokenizer: MultiScaleConfig | None = None):
        super().__init__(spec)
        self.model = HART(config)
        self.autoencoder = MultiScaleVQ(tokenizer or tokenizer_shape(config))
        self.how = HARTSampling(float(spec.values["guidance"]), spec.values["smooth"] == "yes")

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the transformer, the tokenizer, the text encoder with its tokenizer, and the system prompt."""
        own, shape, tokenizer, *parts, text_shape, _, prompt = assets.values()
        config = config_of(parsed(shape), self.model.config.code_dim, self.model.config.codebook_size)
        with torch.device("meta"):
            if config != self.model.config:
                self.model = HART(config)
                self.autoencoder = MultiScaleVQ(tokenizer_shape(config))
            self.text = _text_encoder(parsed(text_shape))
        load_strict(self.model, own, self.spec.name)
        load_strict(self.autoencoder, tokenizer, "hart-tokenizer")
        stored = {name: tensor for part in parts for name, tensor in part.items() if "lm_head" not in name}
        encoder = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
        load_strict(self.text, encoder, "hart-text")
        with torch.device("cpu"):  # no file has its frequencies
            self.text.rotary_emb = type(self.text.rotary_emb)(self.text.config)
        self.system = system_prompt(prompt)

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move the networks to `device`."""
        *_, asset, _ = self.spec.assets
        self.texts = self._texts()
        before = tokenizer_json(asset)
        before.no_truncation()
        before.no_padding()
        self.system_ids = torch.tensor(before.encode(self.system).ids)
        super().place(device, dtype)

    def _texts(self) -> Texts:
        return Texts(self.spec.assets[-2], self.model.config.context_tokens, PAD)

    def cut_captions(self, captions: Sequence[str]) -> tuple[int, list[str]]:
        """Return how many tokens of a caption are read, and the captions that have more."""
        texts = self._texts()
        flags = texts.is_cut(list(captions))
        return texts.length, [caption for caption, is_cut in zip(captions, flags, strict=True) if is_cut]

    def _features(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions -> features (B, T, width) of the text encoder and their positions (B, T), padding included."""
        tell_cut(self.spec.name, *self.cut_captions(captions))
        ids, _ = self.texts(list(captions), str(self.device))
        mask = ids != self.texts.pad_id
        before = self.system_ids.to(self.device).expand(len(ids), -1)
        seen = torch.cat([torch.ones_like(before, dtype=torch.bool), mask], 1)
        out = self.text(input_ids=torch.cat([before, ids], 1), attention_mask=seen.long()).last_hidden_state
        return out[:, before.shape[1] :].float(), mask.long().cumsum(1) - 1

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        context, positions = self._features([str(caption) for caption in conditions])

        def draws(use: str, shape: tuple[int, ...]) -> Tensor:
            return noise(seeds, shape, use) if use.startswith("rest") else -uniform(seeds, shape, use).log()

        features = generate(self.model, self.autoencoder, context, positions, draws, self.how)
        return (self.autoencoder.decode_features(features).clamp(-1, 1) + 1) / 2


def _text_encoder(values: dict[str, Any]) -> Any:
    """Return the text part of the Qwen2-VL that a `config.json` describes, as a Qwen2 of transformers."""
    from transformers import Qwen2Config, Qwen2Model

    return Qwen2Model(Qwen2Config(**{k: v for k, v in values.items() if k not in ("architectures", "model_type")}))
