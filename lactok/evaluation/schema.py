"""The schema of `result.json`: typed, versioned, the same for every suite that writes and every reader that reads.

`docs/result.schema.json` is its JSON Schema; `python -m lactok.evaluation.schema` prints it. Results of older versions
are read too, see `upgraded`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from lactok.evaluation.older_results import VERSION, Damaged, short, upgraded, with_usage_of_all_codes
from lactok.evaluation.probe_parts import LabelsPart, ProbePart, SplitPart
from lactok.evaluation.schema_parts import (
    Codebook,
    DatasetPart,
    Entry,
    IdsPart,
    JudgePart,
    Part,
    PicturesPart,
    ProtocolPart,
    ReferencePart,
    RewardPart,
    RunPart,
    Skipped,
    TokenizerPart,
)


class ResultPart(Part):
    """The parts that the results of all suites have.

    Attributes:
        version: the version of the schema; its key is `schema`.
        suite: the suite that wrote the result.
        limit: the number of samples that the user limited the data set to, None for all.
        metrics: the measured numbers by key.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, populate_by_name=True)
    title: ClassVar[str] = ""

    version: Literal[2] = Field(alias="schema")
    suite: str
    limit: int | None
    dataset: DatasetPart
    run: RunPart
    metrics: dict[str, Entry]


class FastPart(Part):
    """How far a run with `fast` is from one without, on a few of its images; see `lactok.evaluation.fast`.

    Attributes:
        images: how many.
        largest: by metric, the largest difference of an image's value.
        distance: by name of features, the Frechet distance between the features computed both ways of the same
            reconstructions, None for one image.
    """

    images: int
    largest: dict[str, FiniteFloat]
    distance: dict[str, FiniteFloat | None]


class ReconResult(ResultPart):
    """A tokenizer's reconstructions of one data set under one protocol."""

    suite: Literal["recon"]
    tokenizer: TokenizerPart
    protocol: ProtocolPart
    codebook: Codebook | None
    ids: IdsPart | None = None
    fast: FastPart | None = None


class GenEvalResult(ResultPart):
    """GenEval of a generator or of a folder of pictures.

    Attributes:
        scorer: the settings that decide whether a picture is correct.
        comparable: whether the scores can be compared with published ones; `comparable_note` says why or why not.
        tasks: the keys of those metrics that are tasks.
        remarks: samples that a reader should know about, with the reason.
    """

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
    """Pictures that a generator made; only the time is measured, and that stands in `run.json`."""

    suite: Literal["generation"]
    pictures: PicturesPart


class GfidReference(Part):
    """What the pictures of classes were compared with.

    Attributes:
        name: the data set's or the file's name.
        kind: "photographs" of a folder, "pictures" or "statistics" of an .npz file, or "statistics and pictures", where
            the FID is to the statistics and precision and recall are by the pictures.
        sha256: the hash of its content.
        list_sha256: for photographs, the hash of their ids alone, see `DatasetPart`.
        n: the number of photographs or pictures of which the FID's statistics are; None where the file does not say.
        prepare: how photographs were prepared; None for those of a file.
        skipped: the photographs that cannot be read.
    """

    name: str
    kind: str
    sha256: str
    n: int | None
    prepare: dict[str, Any] | None
    skipped: list[Skipped]
    list_sha256: str | None = None


class GfidResult(ResultPart):
    """Pictures of ImageNet classes, of a generator or in a folder or file, compared with a reference."""

    suite: Literal["gfid"]
    pictures: PicturesPart
    protocol: ProtocolPart
    reference: GfidReference


class ProbeResult(ResultPart):
    """What a linear probe and a small autoregressive model make of a tokenizer's ids.

    Attributes:
        prepare: the hash of the protocol's `Prepare`, under which the ids were made.
        labels: the classes, None without labels.
        split: the autoregressive model's photographs, None where there are too few.
    """

    suite: Literal["probe"]
    tokenizer: TokenizerPart
    prepare: str
    probe: ProbePart
    labels: LabelsPart | None
    split: SplitPart | None


AnyResult = Annotated[
    ReconResult | GenEvalResult | PreferenceResult | GenerationResult | GfidResult | ProbeResult,
    Field(discriminator="suite"),
]
_ADAPTER: TypeAdapter[AnyResult] = TypeAdapter(AnyResult)


def parsed(content: object, name: str = "") -> tuple[AnyResult, bool]:
    """Check the content of a `result.json`.

    Args:
        content: what the JSON file holds.
        name: the name of the result's folder, which tells the limit of results of version 1.

    Returns:
        The result, and whether it was of an older version.

    Raises:
        Damaged: it is no result of this project, or one of a later version.
    """
    if not isinstance(content, dict):
        raise Damaged("result.json is not this project's")
    older = content.get("schema") == 1
    if older:
        content = upgraded(content, name)
    elif content.get("schema") != VERSION:
        if not {"schema", "metrics"} & content.keys():
            raise Damaged("result.json is not this project's")
        raise Damaged(f"result.json has schema {short(content.get('schema'))}, this version reads 1 to {VERSION}")
    try:
        return _ADAPTER.validate_python(with_usage_of_all_codes(content)), older
    except ValidationError as error:
        first = error.errors()[0]
        place = short(".".join(str(part) for part in first["loc"][1:]))
        if first["type"] == "missing":
            raise Damaged(f"result.json has no {place}") from error
        if not place:
            raise Damaged("result.json is not this project's") from error
        raise Damaged(f"result.json: {place} is {short(json.dumps(first['input'], default=str))}") from error


def as_data(result: ResultPart) -> dict[str, Any]:
    """Return the content of `result.json`; values that a suite did not set are left out."""
    return result.model_dump(by_alias=True, exclude_unset=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `result.json`."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"lactok result, version {VERSION}"}
    return head | _ADAPTER.json_schema(by_alias=True)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
