"""What a stage of data construction is: a source of prompts or of pictures, a captioner, or a filter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lactok.specs import Asset, Option, WithOptions

if TYPE_CHECKING:
    from PIL import Image


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
