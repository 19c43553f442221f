"""The rows of Table 3 of arXiv 2503.08377: which generator of this project stands for which system of the paper."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A system of a published table.

    Attributes:
        key: its key in the published table.
        label: its name as the paper writes it.
        name: its name in this project.
        marked: whether its numbers may be marked as best or second best.
    """

    key: str
    label: str
    name: str
    marked: bool = True


GENERATORS = (
    System("sd1.5", "SD1.5", "sd1.5"),
    System("sdxl", "SDXL", "sdxl"),
    System("sd3", "SD3", "sd3"),
    System("flux.1-dev", "FLUX.1-dev", "flux.1-dev"),
    System("llamagen", "LlamaGen", "llamagen-t2i-512"),
    System("hart", "HART", "hart-0.7b"),
    System("show-o", "Show-o", "show-o-256"),
    System("lactokgen-h", "LaCTokGen-H", "lactokgen-h"),
    System("lactokgen-h*", "LaCTokGen-H*", "lactokgen-h-star"),
    System("lactokgen-t*", "LaCTokGen-T*", "lactokgen-t-star"),
)
