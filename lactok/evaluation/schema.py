"""What a `result.json` is: one typed, versioned schema that every suite writes and every reader reads.

`docs/result.schema.json` is its JSON Schema; `python -m lactok.evaluation.schema` prints it. A reader takes older
versions too, see `upgraded`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

VERSION = 2


class Damaged(Exception):
    """A `result.json` that is not what this project writes; the message says what is wrong."""


class Part(BaseModel):
    """A part of a result: types are not converted, keys of a later version are kept."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class Entry(Part):
    """A measured number.

    Attributes:
        value: None where it could not be computed.
        ci95: 95 % interval, None for distances of sets and for a single value.
        n: images, or prompts, that it is of.
        capped: of these, how many reached the metric's largest value.
        references: of a distance, images of the other set.
        reliable: False for a distance of too few images.
        prompts: of a task, how many prompts it has.
        title, higher_is_better: of metrics that are not this project's own.
    """

    value: FiniteFloat | None
    ci95: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)] | None = None
    n: int
    capped: int | None = None
    references: int | None = None
    reliable: bool | None = None
    prompts: int | None = None
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
    """What was measured: `n` samples of `name`, without those that were left out.

    Attributes:
        sha256: of ids, photographs and captions.
        prompts, captions: how many different ones there are, in suites that have them.
        without_picture: captions for which there is no picture.
    """

    name: str
    n: int
    sha256: str
    skipped: list[Skipped]
    prompts: int | None = None
    captions: int | None = None
    without_picture: int | None = None


class RunPart(Part):
    """What else determined the numbers."""

    dtype: str
    seed: int
    device: str


class TokenizerPart(Part):
    """The tokenizer, or the folder of reconstructions; bits are an image's, bpp a pixel's."""

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
    code: str | None = None
    bpp: FiniteFloat | None = None
    over_budget: int | None = None


class Definition(Part):
    """The settings that were hashed."""

    prepare: dict[str, Any]
    score: dict[str, Any]


class ProtocolPart(Part):
    """Name, hashes and settings of the protocol, and the networks of its metrics."""

    name: str
    prepare: str
    score: str
    resolution: int
    networks: list[Network]
    definition: Definition


class Codebook(Part):
    """How the codebook was used."""

    seen: int
    used: int
    usage: FiniteFloat
    perplexity: FiniteFloat
    entropy_bits: FiniteFloat
    near_ties: int


class GeneratorPart(Part):
    """The generator that made the pictures, and how many of each prompt."""

    name: str
    samples: int
    seed: int
    dtype: str


class PicturesPart(Part):
    """The pictures: somebody's folder, or a generator's."""

    name: str
    generator: GeneratorPart | None = None


class JudgePart(Part):
    """A detector or a colour classifier."""

    name: str
    version: int
    license: str
    assets: list[Network]
    note: str | None = None
    threshold: float | None = None
    counting_threshold: float | None = None


class RewardPart(Part):
    """A reward."""

    name: str
    variant: str
    version: int
    license: str
    higher_is_better: bool
    assets: list[Network]


class ReferencePart(Part):
    """The photographs that distances are to."""

    name: str
    n: int
    sha256: str
    prepare: dict[str, Any]
    features: str
    networks: list[Network]


class ResultPart(Part):
    """What all suites have.

    Attributes:
        version: of the schema, the key `schema`.
        limit: of samples, None for all.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, populate_by_name=True)
    title: ClassVar[str] = ""

    version: Literal[2] = Field(alias="schema")
    suite: str
    limit: int | None
    dataset: DatasetPart
    run: RunPart
    metrics: dict[str, Entry]


class ReconResult(ResultPart):
    """A tokenizer's reconstructions of one data set under one protocol."""

    suite: Literal["recon"]
    tokenizer: TokenizerPart
    protocol: ProtocolPart
    codebook: Codebook | None


class GenEvalResult(ResultPart):
    """GenEval of a generator or of a folder of pictures: `tasks` names those of the metrics that are tasks."""

    suite: Literal["geneval"]
    pictures: PicturesPart
    detector: JudgePart
    colours: JudgePart
    scorer: dict[str, Any]
    comparable: bool
    comparable_note: str
    tasks: list[str]
    remarks: list[Skipped]


class PreferenceResult(ResultPart):
    """Rewards of pictures and, with references, their distance to photographs."""

    suite: Literal["preference"]
    pictures: PicturesPart
    rewards: list[RewardPart]
    reference: ReferencePart | None


class GenerationResult(ResultPart):
    """Pictures that a generator made; nothing is measured of them but the time, which `run.json` has."""

    suite: Literal["generation"]
    pictures: PicturesPart


AnyResult = Annotated[ReconResult | GenEvalResult | PreferenceResult | GenerationResult, Field(discriminator="suite")]
_ADAPTER: TypeAdapter[AnyResult] = TypeAdapter(AnyResult)


def parsed(content: object, name: str = "") -> tuple[AnyResult, bool]:
    """A result from what its JSON holds, and whether it was of an older version.

    Args:
        name: of its folder, from which results of version 1 take their limit.

    Raises:
        Damaged: not a result of this project, or of a later version.
    """
    if not isinstance(content, dict):
        raise Damaged("result.json is not this project's")
    older = content.get("schema") == 1
    if older:
        content = upgraded(content, name)
    elif content.get("schema") != VERSION:
        if not {"schema", "metrics"} & content.keys():
            raise Damaged("result.json is not this project's")
        raise Damaged(f"result.json has schema {content.get('schema')!r}, this version reads 1 to {VERSION}")
    try:
        return _ADAPTER.validate_python(content), older
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        if first["type"] == "missing":
            raise Damaged(f"result.json has no {place}") from error
        if not place:
            raise Damaged("result.json is not this project's") from error
        raise Damaged(f"result.json: {place} is {json.dumps(first['input'], default=str)[:40]}") from error


def upgraded(old: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A result of version 1 as one of today: suites were told apart by their keys then, and the limit by the folder."""
    limit = re.search(r"__limit(\d+)(__|$)", name)
    new = dict(old) | {"schema": VERSION, "limit": int(limit[1]) if limit else None}
    try:
        if old.get("suite") == "geneval":
            return _upgraded_geneval(new)
        if "rewards" in old and "pictures" in old:
            return new | {"suite": "preference"}
        if "tokenizer" in old and "protocol" in old:
            prose = ("input", "transparency", "output", "rfid", "rfid_clean", "ssim", "lpips")
            protocol = dict(old["protocol"])
            protocol["definition"] = {
                part: {k: v for k, v in protocol["definition"][part].items() if k not in prose} | {"version": 1}
                for part in ("prepare", "score")
            }
            protocol.setdefault("networks", [])
            return new | {"suite": "recon", "protocol": protocol}
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"has no {error.args[0]}" if isinstance(error, KeyError) else "is damaged"
        raise Damaged(f"result.json {missing}") from error
    raise Damaged("result.json is not this project's")


def _upgraded_geneval(new: dict[str, Any]) -> dict[str, Any]:
    images, generator = new.pop("images"), new.pop("generator", None)
    tasks = new.pop("tasks")
    others = {key: new.pop(key) for key in ("overall", "per_image", "prompts") if key in new}
    left_out, remarks = new.pop("left_out", []), new.pop("remarks", [])
    own = generator or {}
    return new | {
        "pictures": {"name": own.get("name", images["name"]), "generator": generator},
        "dataset": {
            "name": images["name"],
            "n": images["n"],
            "sha256": images["sha256"],
            "prompts": images.get("prompts"),
            "skipped": [{"id": note["id"], "reason": note["text"]} for note in left_out],
        },
        "run": {"dtype": own.get("dtype", "float32"), "seed": own.get("seed", 0), "device": "cpu", **new["run"]},
        "metrics": {**tasks, **others},
        "tasks": list(tasks),
        "remarks": [{"id": note["id"], "reason": note["text"]} for note in remarks],
    }


def as_data(result: ResultPart) -> dict[str, Any]:
    """What `result.json` holds: only what was set, so that a suite's result has no keys of the others."""
    return result.model_dump(by_alias=True, exclude_unset=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `result.json`."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"lactok result, version {VERSION}"}
    return head | _ADAPTER.json_schema(by_alias=True)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
