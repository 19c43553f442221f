"""Small generators with random weights of every family that reads captions, and what makes runs of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from texts import TEXT, WORDS, words

from baselines.hart import HARTGenerator
from baselines.llamagen_t2i import TextToIds
from baselines.show_o import MagvitTokenizer, ShowOGenerator
from lactok import registry
from lactok.nn import hart_checkpoint
from lactok.nn.gpt import GPTConfig
from lactok.nn.hart import HART, HARTConfig
from lactok.nn.magvit_v2 import MagvitConfig
from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ
from lactok.nn.show_o import ShowOConfig
from lactok.specs import Asset, GeneratorSpec, Hub, Option, TokenizerSpec

JSON = Hub("nobody/nothing", "tokenizer.json")  # says what kind of file a text tokenizer is
GPT_SHAPE = GPTConfig(32, 1, 4, 48, 4096, 16, 120, 256)  # the ids of the bundled tokenizers
SHOW_O = ShowOConfig(32, 1, 2, 48, 0.5, len(WORDS), 1, 12, 16, 64)
MAGVIT = MagvitConfig(32, (1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 1, 1), 6)  # 4 x 4 ids of 32 pixels
HART_SHAPE = HARTConfig(32, 2, 2, 256, 8, 24, (1, 2, 4), 8, 64, 32, 1, 4)
HART_PIXELS = MultiScaleConfig(32, (1, 1, 1), 1, 8, 64, (1, 2, 4))
HART_VALUES = {
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "mlp_ratio": 4.0,
    "context_token": 8,
    "context_dim": 24,
    "patch_nums": [1, 2, 4],
    "diff_width": 32,
    "diff_depth": 1,
    "num_sampling_steps": "4",
    "attn_type": "llama",
}
HART_WORDS = ["<|endoftext|>", "<unk>", *["a", "red", "bus", "green", "cat", "prompt"]]
HART_TEXT = {
    "vocab_size": len(HART_WORDS),
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
}
HART_PROMPT = "prompt a red"
SAMPLING = {
    "guidance": Option(3.0, "", 1.0, 100.0),
    "temperature": Option(1.0, "", 0.0, 100.0),
    "top_k": Option(20, "", 0, 4096),
    "top_p": Option(1.0, "", 0.0, 1.0),
    "cfg_interval": Option(-1, "", -1, 1000),
}
STEPS = {"steps": Option(4, "", 1, 100), "guidance": Option(2.0, "", 0.0, 100.0)}
NAMES = ("small-lactokgen", "small-llamagen", "small-show-o", "small-hart")


def _spec(name: str, tokenizer: str, size: int, assets: tuple[str, ...], options: dict[str, Option]) -> GeneratorSpec:
    return GeneratorSpec(
        name,
        "small",
        "text",
        size,
        "MIT",
        tokenizer=tokenizer,
        options=options,
        values={key: option.default for key, option in options.items()},
        assets=tuple(Asset(asset, "MIT", (JSON,) if asset == "words" else ()) for asset in assets),
    )


def register() -> None:
    """Make the generators known, and the small image tokenizer of Show-o; `write` makes their weights."""
    text = {"config": GPT_SHAPE, "text": TEXT}
    lactokgen = _spec("small-lactokgen", "lactok-h-tiny", 256, ("small-lactokgen", "t5", "words"), SAMPLING)
    llamagen = _spec("small-llamagen", "llamagen-vq16-tiny", 256, ("small-llamagen", "t5", "words"), SAMPLING)
    for spec in (lactokgen, llamagen):
        registry.register_generator(spec, **text)(TextToIds)
    magvit = TokenizerSpec("small-magvit", "small", 16, 64, 32, 32, "MIT", assets=(Asset("small-magvit", "MIT"),))
    registry.register(magvit, config=MAGVIT, listed=False)(MagvitTokenizer)
    show_o = _spec("small-show-o", "small-magvit", 32, ("small-show-o", "words"), STEPS)
    registry.register_generator(show_o, config=SHOW_O)(ShowOGenerator)
    hart = replace(registry.GENERATORS.entry("hart-0.7b").spec, name="small-hart", output_size=16)
    registry.register_generator(hart, config=HART_SHAPE, tokenizer=HART_PIXELS)(HARTGenerator)
    hart_checkpoint.PROMPT_SHA256 = hashlib.sha256(HART_PROMPT.encode()).hexdigest()


def write(folder: Path) -> None:
    """Write the weights of all of them into a folder, for `LACTOK_WEIGHTS`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    words(folder / "words.json")
    for name in ("small-lactokgen", "small-llamagen", "small-show-o"):
        network = registry.GENERATORS.entry(name).create()
        save_file(_copied(network.get_submodule("model")), folder / f"{name}.safetensors")
        if isinstance(network, TextToIds):
            encoder = _copied(network.text.encoder)
            encoder.pop("encoder.embed_tokens.weight")
            save_file(encoder, folder / "t5.safetensors")
    save_file(_copied(registry.TOKENIZERS.entry("small-magvit").create().model), folder / "small-magvit.safetensors")
    write_hart(folder)


def write_hart(folder: Path) -> None:
    """Write the files of a small HART, laid out as the published ones."""
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(0)
    network, autoencoder, text = HART(HART_SHAPE), MultiScaleVQ(HART_PIXELS), Qwen2Model(Qwen2Config(**HART_TEXT))
    mask = {"attn_bias_for_masking": torch.full((1, 1, 4, 4), -torch.inf)}
    torch.save(network.state_dict() | mask, folder / "hart-0.7b.pt")
    stored = {f"vae.{k}": v for k, v in autoencoder.state_dict().items()} | {"disc.main.0.weight": torch.ones(1)}
    torch.save(stored, folder / "hart-tokenizer.pt")
    tensors = {f"model.{k}": v.clone() for k, v in text.state_dict().items()}
    names = sorted(tensors)
    save_file({k: tensors[k] for k in names[:3]}, folder / "hart-text-1.safetensors")
    save_file({k: tensors[k] for k in names[3:]}, folder / "hart-text-2.safetensors")
    (folder / "hart-0.7b-config.json").write_text(json.dumps(HART_VALUES))
    described = HART_TEXT | {"model_type": "qwen2", "architectures": ["Qwen2"]}
    (folder / "hart-text-config.json").write_text(json.dumps(described))
    words(folder / "hart-text-tokenizer.json", HART_WORDS, end=False)
    (folder / "hart-system-prompt.py").write_text(
        f'import os\nllm_system_prompt = "{HART_PROMPT[:7]}" "{HART_PROMPT[7:]}"\nos.remove("x")\n'
    )


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
