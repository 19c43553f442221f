"""What HART's published files hold, and how they become its networks.

None of them was opened here. Depth, width and heads are read from the checkpoint's own `config.json`; a configuration
of another kind is refused by name.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lactok.errors import UserError
from lactok.nn.hart import HARTConfig
from lactok.specs import Asset, Hub, Url

MODEL = "mit-han-lab/hart-0.7b-1024px"
TEXT = "mit-han-lab/Qwen2-VL-1.5B-Instruct"
CODE = "https://raw.githubusercontent.com/mit-han-lab/hart/main/hart/utils/constants.py"
PROMPT_SHA256 = "424f7aa7b1119f8ed1e329140e5941dfe308183bea0af59041dad5527a9b8f20"

# the files of a generator, in the order in which its adapter loads them
ASSETS = (
    Asset("hart-0.7b", "MIT", (Hub(MODEL, "llm/ema_model.bin"),), f"{__name__}:convert", 3_310_000_000),
    Asset("hart-0.7b-config", "MIT", (Hub(MODEL, "llm/config.json"),)),
    Asset(
        "hart-tokenizer",
        "MIT",
        (Hub(MODEL, "tokenizer/pytorch_model.bin"), Hub(MODEL, "tokenizer/model.safetensors")),
        f"{__name__}:convert_tokenizer",
        447_000_000,
    ),
    Asset("hart-text-1", "Apache-2.0", (Hub(TEXT, "model-00001-of-00002.safetensors"),), size=3_000_000_000),
    Asset("hart-text-2", "Apache-2.0", (Hub(TEXT, "model-00002-of-00002.safetensors"),), size=1_430_000_000),
    Asset("hart-text-config", "Apache-2.0", (Hub(TEXT, "config.json"),)),
    Asset("hart-text-tokenizer", "Apache-2.0", (Hub(TEXT, "tokenizer.json"),), size=7_000_000),
    Asset("hart-system-prompt", "MIT", (Url(CODE),)),
)
# what is built here of the options in config.json
BUILT = {
    "attn_l2_norm": False,
    "mlp_type": "llama",
    "attn_type": "llama",
    "disable_aln": True,
    "use_timestep_embed": True,
    "sep_aln_pooling_mode": "max",
    "use_cross_attn": False,
    "sampler": "iddpm",
    "use_context_norm": True,
}


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the transformer's tensors of the official file."""
    return {name: tensor for name, tensor in tensors.items() if not left_out(name)}


def convert_tokenizer(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tokenizer's tensors of the official file under the names of `lactok.nn.multiscale_vq`."""
    return {name.removeprefix("vae."): tensor for name, tensor in tensors.items() if not left_out(name)}


def left_out(name: str) -> str:
    """Return why loading leaves a tensor out, "" for one that is loaded."""
    if name == "attn_bias_for_masking":
        return "the mask of training, which generation does not use"
    return "the discriminator" if name.startswith("disc.") else ""


def feed_forward_width(width: int, ratio: float) -> int:
    """Return the width inside a SwiGLU, a multiple of 256.

    >>> feed_forward_width(1536, 4.0), feed_forward_width(64, 4.0)
    (4096, 256)
    """
    return (int(width * ratio * 2 / 3) + 255) // 256 * 256


def not_built(values: Mapping[str, Any]) -> str:
    """Return the options of a `config.json` that are not built here, "" where all are."""
    return ", ".join(f"{key} = {values[key]!r}" for key, value in BUILT.items() if values.get(key, value) != value)


def config_of(values: Mapping[str, Any], code_dim: int = 32, codebook_size: int = 4096) -> HARTConfig:
    """Return the shape of the network that a `config.json` describes.

    Raises:
        UserError: it describes a network of another kind, or lacks a value.
    """
    if other := not_built(values):
        raise UserError(f"hart-0.7b's config.json describes a network that is not built here: {other}")
    try:
        return HARTConfig(
            width=int(values["embed_dim"]),
            layers=int(values["depth"]),
            heads=int(values["num_heads"]),
            hidden=feed_forward_width(int(values["embed_dim"]), float(values.get("mlp_ratio", 4.0))),
            context_tokens=int(values["context_token"]),
            context_width=int(values["context_dim"]),
            sides=tuple(int(side) for side in values["patch_nums"]),
            code_dim=code_dim,
            codebook_size=codebook_size,
            diffusion_width=int(values["diff_width"]),
            diffusion_layers=int(values["diff_depth"]),
            diffusion_steps=int(values["num_sampling_steps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"hart-0.7b's config.json lacks a value or has another kind ({error!r})") from error


def parsed(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the object of a configuration that is kept as the bytes of its JSON."""
    found = json.loads(bytes(tensors["json"].tolist()))
    if not isinstance(found, dict):
        raise UserError("a config.json of HART is no object; is it the right file?")
    return found


def system_prompt(tensors: Mapping[str, Tensor]) -> str:
    """Return the text that stands before every prompt, from the authors' file of constants, of which nothing is run.

    Raises:
        UserError: the file does not have the text that the model was released with.
    """
    code = bytes(tensors["text"].tolist()).decode("utf-8", "replace")
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        statements = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant | ast.BinOp | ast.JoinedStr):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if "llm_system_prompt" in names:
                try:
                    text = ast.literal_eval(statement.value)
                except ValueError:
                    continue
                if isinstance(text, str) and hashlib.sha256(text.encode()).hexdigest() == PROMPT_SHA256:
                    return text
    raise UserError(
        "hart-system-prompt does not hold llm_system_prompt as it was released; take hart/utils/constants.py of "
        "mit-han-lab/hart at e28a41fe"
    )
