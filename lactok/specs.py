"""What a tokenizer or an asset is, as data only: this module imports neither torch nor a network library."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal, Self
from urllib.parse import urlsplit

from lactok.errors import WrongValue, unknown

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["crop", "squash"]
Resample = Literal["bicubic-aa", "bilinear-aa", "bilinear"]

# file names that say nothing about the model (their part before "." or "-0"): never enough to know a file by
GENERIC = {"model", "pytorch_model", "diffusion_pytorch_model", "config", "checkpoint", "ckpt", "weights"} | {
    "last",
    "best",
    "latest",
    "final",
    "ema",
    "adapter_model",
    "imagenet",
    "vqgan",
    "vae",
    "model_index",
}


@dataclass(frozen=True)
class Hub:
    """A file of a Hugging Face hub repository."""

    repo: str
    file: str
    sha256: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"hub:{self.repo}/{self.file}{f'@{self.revision}' if self.revision else ''}"


@dataclass(frozen=True)
class PackageIndex:
    """A file inside an archive of a Python package registry; the archive is read, never installed."""

    project: str
    archive: str
    sha256: str
    member: str
    member_sha256: str

    @property
    def file(self) -> str:
        return self.member

    def __str__(self) -> str:
        return f"registry:{self.archive}/{self.member}"


@dataclass(frozen=True)
class Url:
    """A plain download; `where` is an address or "module:attribute" of an installed library that knows it.

    `sha256` may be the beginning of the digest, as publishers put it into file names; `size` is in bytes, exactly.
    """

    where: str
    sha256: str | None = None
    size: int | None = None

    @property
    def file(self) -> str:
        """The address's path, which ends in the file's name if the address has one."""
        return urlsplit(self.where).path if "://" in self.where else ""

    def __str__(self) -> str:
        return f"url:{self.where}"


@dataclass(frozen=True)
class Packaged:
    """A file that an installed package carries."""

    package: str
    file: str
    sha256: str

    def __str__(self) -> str:
        return f"package:{self.package}/{self.file}"


Source = Hub | PackageIndex | Url | Packaged


@dataclass(frozen=True)
class Asset:
    """One file of weights: where it comes from and how its tensors become the ones that a network loads.

    Attributes:
        name: also the file's stem in a user's folder, in the package and in the cache.
        license: SPDX name or a short phrase.
        sources: tried in order, after the user's folders and the package.
        convert: "module:function" that takes {name: tensor} as stored and returns {name: tensor} as loaded.
        size: bytes, about; shown before a download.
        version: raised by hand when what `convert` does changes; kept conversions of another one are made anew.
        note: what the file is and how it is had, where no source can say it; ends the message that it is missing.
    """

    name: str
    license: str
    sources: tuple[Source, ...] = ()
    convert: str | None = None
    size: int = 0
    version: int = 1
    note: str = ""

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The stored tensors as the network loads them."""
        if self.convert is None:
            return tensors
        module, _, function = self.convert.partition(":")
        return getattr(importlib.import_module(module), function)(tensors)

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names under which a user's folder may hold it, the two handiest first.

        NAME.safetensors holds the tensors as loaded (what `fetch` writes); under the others lies the published file,
        to be converted: as REPOSITORY/FILE, which is what `hf download REPO --local-dir FOLDER/REPOSITORY` gives, as
        NAME.pt and the like, and as FILE where that name tells one model from another.

        >>> Asset("x-s", "MIT", (Hub("someone/x", "config.json"),)).file_names
        ('x-s.safetensors', 'x/config.json', 'x-s.json')
        >>> Asset("x-s", "MIT", (Hub("someone/x", "vq/x_small.pt"),)).file_names[-2:]
        ('x-s.ckpt', 'x_small.pt')
        """
        hub = [s for s in self.sources if isinstance(s, Hub)]
        files = [PurePosixPath(s.file) for s in self.sources if isinstance(s, Hub | Url)]
        json = any(s.file.endswith(".json") for s in self.sources)
        names = (
            f"{self.name}.safetensors",
            *(f"{s.repo.rpartition('/')[2]}/{s.file}" for s in hub),
            *(f"{self.name}{suffix}" for suffix in ((".json",) if json else (".pt", ".pth", ".bin", ".ckpt"))),
            *(f.name for f in files if f.suffix and f.name.partition(".")[0].partition("-0")[0] not in GENERIC),
        )
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Option:
    """What may stand after `@` in a name.

    Attributes:
        default: also gives the type (int, float or str).
        low, high: bounds of a number, inclusive.
        choices: the only values, where not empty.
        multiple: an integer must be a multiple of it.
    """

    default: int | float | str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[int | float | str, ...] = ()
    multiple: int = 1

    def parse(self, name: str, text: str) -> int | float | str:
        """The value of `text`; a WrongValue says what is allowed."""
        kind = type(self.default)
        try:
            value = kind(text)
        except ValueError:
            raise WrongValue(f"option {name}={text}: not {'an integer' if kind is int else 'a number'}") from None
        if self.choices and value not in self.choices:
            raise WrongValue(f"option {name}={text}: one of {', '.join(map(str, self.choices))}")
        if isinstance(value, int | float):
            low, high = self.low, self.high
            if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
                raise WrongValue(f"option {name}={text}: between {low} and {high}")
            if isinstance(value, int) and value % self.multiple:
                raise WrongValue(f"option {name}={text}: a multiple of {self.multiple}")
        return value


class Optioned:
    """A name with options after `@`; `TokenizerSpec` and `GeneratorSpec` share it.

    Attributes:
        attributes: option -> the attribute that it sets.
    """

    name: str
    options: Mapping[str, Option]
    values: Mapping[str, int | float | str]
    attributes: ClassVar[Mapping[str, str]] = {}

    def named(self, **values: int | float | str) -> str:
        """The canonical name with some options set otherwise; those at their default are left out.

        >>> steps = {"steps": Option(20, ""), "size": Option(512, "")}
        >>> TokenizerSpec("x", "x", 1, 2, 8, 8, "MIT", options=steps).named(steps=4, size=512)
        'x@steps=4'
        """
        merged = {**{k: o.default for k, o in self.options.items()}, **self.values, **values}
        chosen = [f"{k}={v}" for k, v in merged.items() if v != self.options[k].default]
        base = self.name.partition("@")[0]
        return f"{base}@{','.join(chosen)}" if chosen else base

    def with_options(self, text: str) -> Self:
        """The same with `text` ("tokens=64,steps=2") applied, under its canonical name.

        Options come in the order of `options`; those at their default are left out of the name. Those of `attributes`
        become attributes; a tokenizer's `input` is `input_size`, with as many tokens as its area has.

        Raises:
            UnknownName, WrongValue: an unknown option or a value that is not allowed.
        """
        values = {name: option.default for name, option in self.options.items()}
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, self.options)
            if not equals or not value:
                raise WrongValue(f"option {part!r} of {self.name}: write {name}=VALUE")
            values[name] = self.options[name].parse(name, value)
        changes: dict[str, object] = {"values": values, "name": self.named(**values)}
        changes |= {attribute: values[option] for option, attribute in self.attributes.items() if option in values}
        return replace(self, **(changes | self._derived(values)))  # type: ignore[type-var]

    def _derived(self, values: Mapping[str, int | float | str]) -> dict[str, object]:
        """Attributes that follow from options in another way."""
        return {}


@dataclass(frozen=True)
class TokenizerSpec(Optioned):
    """What is fixed about a tokenizer before it is loaded.

    Attributes:
        name: canonical, with its options after `@`.
        tokens: ids an image, or None for a reference row without ids.
        codebook_size: number of codes, or None.
        input_size, output_size: side of the square image in pixels; None means whatever the protocol evaluates at.
        fit: "crop" keeps the shape and cuts the centre square, "squash" ignores the shape; for callers with images
            that are not square (the protocols' references are, and there both are the same).
        resample: how an image is brought to `input_size`.
        decode_steps: steps of the decoder's sampler; with guidance each may take two evaluations of the network.
        options: what may follow `@`.
        values: the chosen options, all of them, defaults included.
        version: raised by hand when the adapter's arithmetic changes; part of every stored key.
    """

    attributes: ClassVar[Mapping[str, str]] = {
        "tokens": "tokens",
        "steps": "decode_steps",
        "size": "output_size",
    }

    name: str
    family: str
    tokens: int | None
    codebook_size: int | None
    input_size: int | None
    output_size: int | None
    license: str
    fit: Fit = "crop"
    resample: Resample = "bicubic-aa"
    decode_steps: int = 1
    options: Mapping[str, Option] = field(default_factory=dict)
    values: Mapping[str, int | float | str] = field(default_factory=dict)
    paper: str = ""
    assets: tuple[Asset, ...] = ()
    version: int = 1
    note: str = ""

    @property
    def bits(self) -> float | None:
        """Bits an image, tokens * log2(codebook_size); None where each image differs.

        >>> TokenizerSpec("x", "x", 256, 16384, 256, 256, "MIT").bits
        3584.0
        """
        if self.tokens is None or self.codebook_size is None:
            return None
        return self.tokens * math.log2(self.codebook_size)

    def _derived(self, values: Mapping[str, int | float | str]) -> dict[str, object]:
        if "input" not in values or self.tokens is None or self.input_size is None:
            return {}
        side = int(values["input"])
        return {"input_size": side, "tokens": self.tokens * side**2 // self.input_size**2}


@dataclass(frozen=True)
class GeneratorSpec(Optioned):
    """What is fixed about a generator of images before it is loaded.

    Attributes:
        condition: "text" (a caption) or "class" (an ImageNet class).
        output_size: side of the square picture in pixels.
        tokenizer: name of the tokenizer whose ids it predicts, or None.
        options: what may follow `@`; `size` sets `output_size`, the others are for the adapter.
        values: the chosen options, all of them, defaults included.
        version: raised by hand when the adapter's arithmetic changes; pictures of another version are not taken up.
    """

    attributes: ClassVar[Mapping[str, str]] = {"size": "output_size"}

    name: str
    family: str
    condition: Literal["text", "class"]
    output_size: int
    license: str
    tokenizer: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    values: Mapping[str, int | float | str] = field(default_factory=dict)
    paper: str = ""
    assets: tuple[Asset, ...] = ()
    version: int = 1
    note: str = ""
