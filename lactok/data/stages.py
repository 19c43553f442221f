"""What a stage of data construction is, and how it is found by its name.

A stage is a class decorated by `@register_stage(StageSpec("name", ...))`. It stands in a module of `lactok.data`, in
another package that has an entry point of the group `lactok.stages`, or in a file: `FILE.py:CLASS`. Names may carry
options after `@`. Any generator of lactok is a source of pictures, and any reward a filter, without being registered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lactok.errors import MissingFile, UserError, WrongValue, unknown
from lactok.files import is_file
from lactok.outside_text import shown
from lactok.plugins import Plugins
from lactok.specs import Asset, Option, WithOptions
from lactok.userfile import import_file

if TYPE_CHECKING:
    from PIL import Image

GROUP = "lactok.stages"
S = TypeVar("S", bound="type[Stage]")
K = TypeVar("K", bound="Stage")


@dataclass(frozen=True)
class StageSpec(WithOptions):
    """What is fixed about a stage before it is loaded.

    Attributes:
        name: the canonical name, with its options after `@`.
        license: the licence of its weights, an SPDX name or a short phrase; "" if it has none.
        options: the options that may follow `@`, by name.
        values: the values of all options, defaults included.
        assets: the files of weights that it needs.
        least: of a filter: a pair passes if its score is above this, unless the user names another value.
        side: of a source of pictures: the side of the square picture in pixels; 0 if that is not known.
        version: a number that is raised by hand when the stage's results change.
        note: what a reader of its results must know.
    """

    name: str
    license: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    values: Mapping[str, int | float | str] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    least: float | None = None
    side: int = 0
    version: int = 1
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """A picture with its caption, as captioners and filters get it.

    Attributes:
        key: its name in the shards.
        prompt: what the picture was made of, or a real photograph's own caption.
        caption: the caption so far: the prompt until a captioner has written another one.
        image: the picture, RGB.
        seed: of all that is drawn for this pair.
        facts: what the source of pictures said about the picture, as JSON holds it.
    """

    key: str
    prompt: str
    caption: str
    image: Image.Image
    seed: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A picture that was made.

    Attributes:
        image: the picture, RGB.
        facts: what is known about it, as JSON holds it; it is written into the shards.
    """

    image: Image.Image
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A filter's score of a pair.

    Attributes:
        value: the score; higher is better.
        why: what is wrong with the pair, for people; "" where there is nothing to say.
    """

    value: float
    why: str = ""


class Stage(ABC):
    """The base of all stages. `Stage(spec)` is cheap; `load` loads the networks.

    What a stage returns for a pair must depend on the pair and the stage's settings alone, never on its neighbours.

    Attributes:
        kind: what messages call stages of this kind.
        spec: what is fixed about the stage.
        code: the sha256 of its file, for FILE.py:CLASS; else "".
    """

    kind: ClassVar[str] = "stage"
    spec: StageSpec
    code: str = ""

    def __init__(self, spec: StageSpec):
        self.spec = spec

    def load(self, device: str, dtype: str) -> None:  # noqa: B027
        """Load what the stage needs; it is called once in each process that does the stage's work.

        Args:
            device: where its networks compute.
            dtype: the compute dtype of generators and captioners, "float32" for example; filters compute in float32.

        Raises:
            WeightsNotFound: no source has the weights.
        """

    def state(self) -> str:
        """Return whether the weights are on this machine, in words: "ready", "to fetch, 1.2 GB"; nothing is fetched.

        "" stands for a stage that needs none.
        """
        from lactok import weights

        return weights.state(self.spec.assets) if self.spec.assets else ""

    def settings(self) -> dict[str, Any]:
        """Return all that the stage's results depend on, for JSON; its weights are fetched if need be."""
        from lactok import weights

        digests = {asset.name: weights.resolve(asset).sha256 for asset in self.spec.assets}
        found: dict[str, Any] = {"name": self.spec.name, "version": self.spec.version}
        return found | ({"assets": digests} if digests else {})


class PromptSource(Stage):
    """Where prompts come from."""

    kind = "source of prompts"

    def count(self) -> int | None:
        """Return how many prompts there are, None for an endless supply."""
        return None

    @abstractmethod
    def prompts(self, numbers: Sequence[int], seed: int) -> list[str]:
        """Return the prompts of some numbers, counted from 0.

        Args:
            numbers: the numbers.
            seed: of the run; sources that draw their prompts draw others with another seed.
        """


class PictureSource(Stage):
    """What makes pictures of prompts."""

    kind = "generator"

    def check(self, prompts: Sequence[str]) -> None:
        """Raise WrongValue for a prompt that it cannot make a picture of; it is called before anything is made."""

    @abstractmethod
    def make(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Made]:
        """Return a picture of each prompt, drawn by its seed."""


class Captioner(Stage):
    """What writes captions."""

    kind = "captioner"

    @abstractmethod
    def captions(self, pairs: Sequence[Pair]) -> list[str]:
        """Return a caption of each pair; "" for one that has none, which is rejected."""


class Filter(Stage):
    """What scores pairs."""

    kind = "filter"

    @abstractmethod
    def scores(self, pairs: Sequence[Pair]) -> list[Score]:
        """Return the score of each pair; a pair passes if it is above `spec.least` or the user's value."""


@dataclass(frozen=True)
class Registered:
    """A registered stage: its spec and its class, which may stand under several names."""

    spec: StageSpec
    stage: type[Stage]


class Stages(Plugins[Registered]):
    """The registry of all stages; an entry point may also name a class that has a `spec` but no decorator."""

    def __init__(self) -> None:
        super().__init__("stage", "register_stage", GROUP, lambda: ("lactok.data",))

    def adopt(self, name: str, point: EntryPoint, loaded: Any) -> None:
        """Register the class that an entry point names; raise UserError for anything that is not a stage."""
        if not _is_stage(loaded):
            raise UserError(f"plug-in {name!r} ({point.value}) is no stage; see lactok.data.stages.Stage")
        self.add(name, Registered(loaded.spec, loaded))

    def maker(self, entry: Registered) -> Any:
        """Return the entry's class."""
        return entry.stage

    def of_kind(self, kind: type[Stage]) -> list[str]:
        """Return the names of all stages of a kind; those that cannot be imported are left out."""
        found = []
        for name in self.names():
            try:
                if issubclass(self.get(name).stage, kind):
                    found.append(name)
            except UserError:  # a broken plug-in must not hide the others
                continue
        return found


STAGES = Stages()


def register_stage(spec: StageSpec) -> Callable[[S], S]:
    """Return a class decorator that registers a stage and sets its attribute `spec`.

    Write the name as the first text in the decorator: it is read from the source file, before the module is imported.

    Raises:
        WrongValue: another class has the name already.
    """

    def add(stage: S) -> S:
        STAGES.add(spec.name, Registered(spec, stage))
        stage.spec = spec
        return stage

    return add


def is_stage_name(name: str) -> bool:
    """Return whether a name, perhaps with options, is that of a registered stage or `FILE.py:CLASS`."""
    base = name.partition("@")[0]
    return base in STAGES.names() or _file_of(base) is not None


def find(kind: type[K], name: str) -> K:
    """Return a stage of a kind, not loaded yet.

    Args:
        kind: `Captioner`, for example.
        name: a name, which may carry options after `@`, or FILE.py:CLASS.

    Raises:
        UnknownName: there is no such stage or option.
        MissingFile: there is no such file, for FILE.py:CLASS.
        WrongValue: the stage is of another kind, or an option's value is not allowed.
    """
    base, at, text = name.partition("@")
    if at and not text:
        raise WrongValue(f"{name!r}: options are missing after @, as in {base}@NAME=VALUE")
    code = ""
    if (file := _file_of(base)) is not None:
        found, code = _in_file(*file)
    elif base in STAGES.names():
        found = STAGES.get(base)
    else:
        raise unknown(kind.kind, base, STAGES.of_kind(kind))
    if not issubclass(found.stage, kind):
        raise WrongValue(f"{base} is a {found.stage.kind}, not a {kind.kind}")
    stage = found.stage(found.spec.with_options(text))
    stage.code = code
    return stage


def settings_of(stage: Stage) -> dict[str, Any]:
    """Return all that a stage's results depend on, for JSON: its settings, and the digest of a user's file."""
    return stage.settings() | ({"code": stage.code} if stage.code else {})


def _file_of(base: str) -> tuple[str, str] | None:
    """Return the file and the class of FILE.py:CLASS, None for any other name."""
    file, colon, attribute = base.rpartition(":")
    return (file, attribute) if colon and file.endswith(".py") and attribute.isidentifier() else None


def _in_file(file: str, attribute: str) -> tuple[Registered, str]:
    """Return the stage of FILE.py:CLASS, and the sha256 of its code."""
    if not is_file(Path(file)):
        raise MissingFile(f"no such file {shown(file, 200)}; write FILE.py:CLASS")
    module, code = import_file(file)
    found = getattr(module, attribute, None)
    if found is None:
        classes = [k for k, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise unknown(f"class of {file}", attribute, classes)
    if not _is_stage(found):
        raise WrongValue(
            f"{file}:{attribute} is no stage: derive it from lactok.data.Captioner, say, and give it "
            "`spec = StageSpec('name')`"
        )
    return Registered(found.spec, found), code


def _is_stage(value: object) -> bool:
    """Return whether a value is a class of a stage with a spec."""
    is_class = isinstance(value, type) and issubclass(value, Stage)
    return is_class and isinstance(getattr(value, "spec", None), StageSpec)
