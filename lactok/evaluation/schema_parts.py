"""The parts of a `result.json`: what suites share, and what each says of itself; see `lactok.evaluation.schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from lactok.images import size_text


class Part(BaseModel):
    """The base of all parts of a result: values are not converted to other types, and unknown keys are kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Groups(Part):
    """A distance without each of some groups of images, from which its interval follows and comparisons are made.

    Attributes:
        sizes: the number of images in each group.
        without: the distance of all images but those of the group.
    """

    sizes: list[int]
    without: list[FiniteFloat]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Raise an error unless there are two groups or more, all with images, and a distance without each."""
        if len(self.sizes) < 2 or min(self.sizes) < 1 or len(self.without) != len(self.sizes):
            raise ValueError("no distance without each of two groups or more")
        return self


class Entry(Part):
    """A measured number.

    Attributes:
        value: the number, None where it could not be computed.
        ci95: the bounds of its 95 % interval, None where there is none, as for a single value.
        ci95_reason: for a distance of sets that has a value and no interval, why it has none.
        infinity: for a Frechet distance, its value extrapolated to infinitely many images.
        groups: for a distance with an interval, its values without each of some groups of images.
        n: the number of images, or prompts, that it was computed from.
        capped: how many of these reached the largest value that the metric gives.
        nan: for how many of these the metric is not defined, as MS-SSIM for two images that are far apart. Then there
            is no value, and `mean_of_others` is the mean over the other images, None where there are no others.
        excluded: how many further images are left out, since they show nothing that the metric measures, as no face.
        references: for a distance, the number of images in the other set.
        reliable: False for a distance that was computed from too few images.
        rows: for a distance that looks at several parts of an image, such as patches, their number in all images.
        prompts: for a task of GenEval, the number of its prompts.
        tokens: for a reward that reads captions, how many tokens of a caption it reads, special ones included.
        captions_cut: how many different captions are longer than that; the reward did not read the rest of them.
        reason: why there is no value, None where there is one.
        title, higher_is_better: for a metric that is not this project's own, its title and direction.
    """

    value: FiniteFloat | None
    ci95: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)] | None = None
    ci95_reason: str | None = None
    infinity: FiniteFloat | None = None
    groups: Groups | None = None
    n: int
    capped: int | None = None
    nan: int | None = None
    mean_of_others: FiniteFloat | None = None
    excluded: int | None = None
    references: int | None = None
    reliable: bool | None = None
    rows: int | None = None
    prompts: int | None = None
    tokens: int | None = None
    captions_cut: int | None = None
    reason: str | None = None
    title: str | None = None
    higher_is_better: bool | None = None


class Network(Part):
    """A file of weights by name and digest."""

    name: str
    sha256: str
    source: str | None = None


class Skipped(Part):
    """A sample that was left out, and why."""

    id: str
    reason: str


class DatasetPart(Part):
    """The data that was measured.

    Attributes:
        name: the data set's name.
        n: the number of samples that were measured.
        sha256: the hash of ids, photographs and captions.
        list_sha256: the hash of the ids alone, the same for the same choice of images wherever they are kept; in
            results of suites that measure a data set.
        skipped: the samples that were left out.
        prompts, captions: the number of different ones, in suites that have them.
        without_picture: the number of captions for which there is no picture.
    """

    name: str
    n: int
    sha256: str
    skipped: list[Skipped]
    list_sha256: str | None = None
    prompts: int | None = None
    captions: int | None = None
    without_picture: int | None = None


class RunPart(Part):
    """The settings of the run that determined the numbers too: compute dtype, seed, and kind of device."""

    dtype: str
    seed: int
    device: str


class TokenizerPart(Part):
    """The tokenizer, or the folder of reconstructions.

    Attributes:
        tokens: the number of ids for an image, None where there are none.
        bits, bpp: bits for an image, and for a pixel, of the reference image.
        assets: its weights.
        code: the digest of the code, for classes of a user.
        kind: "continuous" for a row whose images are coded as numbers; its bits are the bits of all of them.
        over_budget: for codecs, the number of images that took more bits than the option `bits` allows.
        levels: the number of ids of each level or group, None where they are of one kind.
        name, family, codebook_size, decode_steps, options, license, note: as in `lactok.TokenizerSpec`.
    """

    name: str
    family: str
    tokens: int | None
    codebook_size: int | None
    bits: FiniteFloat | None
    decode_steps: int | None
    options: dict[str, int | float | str]
    license: str
    note: str
    assets: list[Network]
    kind: Literal["discrete", "continuous"] = "discrete"
    code: str | None = None
    bpp: FiniteFloat | None = None
    over_budget: int | None = None
    levels: list[int] | None = None


class Definition(Part):
    """The settings whose hashes are the protocol's `prepare` and `score`."""

    prepare: dict[str, Any]
    score: dict[str, Any]


class ProtocolPart(Part):
    """The protocol.

    Attributes:
        name: its name.
        prepare, score: the hashes of its settings, eight digits each.
        resolution: the side in pixels of the square that photographs are brought to, None where they keep their size.
        networks: the weights of the networks that metrics use.
        definition: its settings.
    """

    name: str
    prepare: str
    score: str
    resolution: int | None
    networks: list[Network]
    definition: Definition

    @property
    def size_text(self) -> str:
        """The size of the reference images, for people; see `lactok.images.Prepare`."""
        return size_text(self.resolution, str(self.definition.prepare.get("crop", "")))


class Codebook(Part):
    """How the codebook was used; see `lactok.evaluation.statistics.codebook_statistics`.

    Results that were stored without `size` are of an earlier version, which divided by the number of ids where that was
    smaller than the codebook; readers compute their `usage` anew, from `used` and the tokenizer's `codebook_size`.

    Attributes:
        size: the number of codes.
        seen: the number of ids.
        used: the number of codes that occur among these.
        usage: used / size; with few images it stays small, since it cannot exceed seen / size.
        usage_of_seen: used / min(size, seen), the share of the codes that so many ids could use; None in results of
            versions that did not compute it.
        perplexity: 2 to the power of `entropy_bits`.
        entropy_bits: the entropy of the codes' frequencies in bits.
        near_ties: the number of ids for which a second code was about as near as the nearest one.
    """

    size: int | None = None
    seen: int
    used: int
    usage: FiniteFloat
    usage_of_seen: FiniteFloat | None = None
    perplexity: FiniteFloat
    entropy_bits: FiniteFloat
    near_ties: int


class Spread(Part):
    """How a number differs between positions: its mean, its least and its most."""

    mean: FiniteFloat
    least: FiniteFloat
    most: FiniteFloat


class LevelPart(Part):
    """The ids of one level or group.

    Attributes:
        tokens: the number of ids for an image.
        used: the number of codes that occur among them.
        entropy_bits: the entropy of these codes' frequencies in bits.
    """

    tokens: int
    used: int
    entropy_bits: FiniteFloat


class IdsPart(Part):
    """What the ids say beyond the codebook's use; see `lactok.evaluation.id_statistics` and `docs/ids-and-errors.md`.

    Attributes:
        order0_bits: bits for an image by an adaptive code that knows the codes' frequencies alone.
        adaptive_bits: bits for an image by a small adaptive model, which also knows neighbours and positions.
        adaptive_images: of how many images, evenly spaced, `adaptive_bits` is the mean.
        distinct_by_position: how many different codes occur at a position.
        entropy_by_position: the entropy of the codes' frequencies at a position, in bits.
        shared: the number of images that have all their ids in common with another image.
        shared_groups: the number of different sequences of ids that these have.
        shared_examples: the names of a few of them, those with the same ids together.
        levels: the levels or groups, where the ids are of several.
    """

    order0_bits: FiniteFloat
    adaptive_bits: FiniteFloat
    adaptive_images: int
    distinct_by_position: Spread
    entropy_by_position: Spread
    shared: int
    shared_groups: int
    shared_examples: list[list[str]]
    levels: list[LevelPart] | None = None


class GeneratorPart(Part):
    """The generator that made the pictures.

    Attributes:
        samples: the number of pictures of each prompt.
        seed: the seed of the run.
        dtype: the compute dtype.
        prompts: the name of the prompts, where they are others than GenEval's, such as "scenes36".
        tokens: how many tokens of a prompt it reads, special ones included; set where a prompt has more.
        captions_cut: how many different prompts have more; the generator did not read the rest of them.
    """

    name: str
    samples: int
    seed: int
    dtype: str
    prompts: str | None = None
    tokens: int | None = None
    captions_cut: int | None = None


class PicturesPart(Part):
    """The pictures that were judged: those of somebody's folder, or of a generator."""

    name: str
    generator: GeneratorPart | None = None


class JudgePart(Part):
    """A detector or a colour classifier of GenEval."""

    name: str
    version: int
    license: str
    assets: list[Network]
    note: str | None = None
    threshold: float | None = None
    counting_threshold: float | None = None


class RewardPart(Part):
    """A reward: a network that scores a picture for a caption."""

    name: str
    variant: str
    version: int
    license: str
    higher_is_better: bool
    assets: list[Network]


class ReferencePart(Part):
    """The photographs to which the distance of the pictures was measured.

    Attributes:
        name: the data set's name.
        n: the number of photographs in it, those that cannot be read included; a distance's entry has the number of the
            others as `references`.
        sha256: the hash of ids and photographs.
        list_sha256: the hash of the ids alone, see `DatasetPart`.
        skipped: the photographs that cannot be read.
        prepare: how the pictures and the photographs were prepared.
        features: the features between which the distances are.
        networks: the weights of the network that computed these.
    """

    name: str
    n: int
    sha256: str
    prepare: dict[str, Any]
    features: str
    networks: list[Network]
    skipped: list[Skipped] | None = None
    list_sha256: str | None = None
