"""A text encoder of a few words, small and with random weights, and how its files look."""

from __future__ import annotations

from pathlib import Path

import torch

from lactok.nn.t5 import T5Config, T5Encoder

WORDS = ["<pad>", "</s>", "<unk>", *["a", "red", "bus", "green", "cat", "on", "the", "photo", "of", "two"]]
TEXT = T5Config(width=16, layers=1, heads=2, head_width=8, hidden=32, vocabulary=len(WORDS))


def words(path: Path, known: list[str] = WORDS, end: bool = True) -> None:
    """Write a text tokenizer of a few words, as the tokenizers library stores it; `end` adds the end of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if end:
        made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    made.save(str(path))


def text_folder(folder: Path) -> Path:
    """Write a T5 with its text tokenizer as transformers writes one, and return the folder."""
    torch.manual_seed(0)
    T5Encoder(TEXT).encoder.save_pretrained(folder)
    words(folder / "tokenizer.json")
    return folder
