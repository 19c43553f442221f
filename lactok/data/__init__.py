"""Data construction, section 4.4 of the LaCTok paper: pairs of a picture and its caption for training.

A generator makes a picture of a prompt, a captioner writes a new caption, filters score the pair, and what passes is
written as webdataset shards; what does not is kept apart with the reason. Pairs of real photographs go the same way
from the captioner on. Each stage is a plug-in, see `lactok.data.registry`; the command is `python -m lactok.data`.
"""

from __future__ import annotations

from lactok.data.registry import register_stage
from lactok.data.stages import (
    Captioner,
    Filter,
    Made,
    Pair,
    PictureSource,
    PromptSource,
    Score,
    Stage,
    StageSpec,
)

__all__ = [
    "Captioner",
    "Filter",
    "Made",
    "Pair",
    "PictureSource",
    "PromptSource",
    "Score",
    "Stage",
    "StageSpec",
    "register_stage",
]
