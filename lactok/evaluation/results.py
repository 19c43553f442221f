"""Read stored results; nothing here computes a score.

`load_results` reads every folder that holds a `result.json`. A folder that is damaged, or was written by another
program, is left out, and a line says which and why. Results of an older schema are read, and a line says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lactok.errors import UnknownName, UserError
from lactok.evaluation import generated, result_folders, schema, stored_files
from lactok.evaluation.older_results import Damaged, older_version_lines
from lactok.evaluation.probe_parts import FIGURES
from lactok.evaluation.result_folders import FIRST
from lactok.evaluation.schema_parts import Entry
from lactok.files import is_folder
from lactok.metrics.registry import Metric, described
from lactok.metrics.rewards import titles
from lactok.outside_text import shown

if TYPE_CHECKING:
    import pandas

R = TypeVar("R", bound="Result")


@dataclass(frozen=True, eq=False)
class Result:
    """A stored result: `result["psnr"]` is a measured number with `value`, `ci95` and `n`.

    Attributes:
        folder: the result's folder.
        data: the content of `result.json` as an object of `lactok.evaluation.schema`.
        older: whether it was stored in an older version of the schema.
        texts: the columns of texts that its records must have, `id` first.
    """

    texts: ClassVar[tuple[str, ...]] = ("id",)

    folder: Path
    data: Any
    older: bool = False

    def __getitem__(self, metric: str) -> Entry:
        """Return a measured number by its key; raise UnknownName if the result does not have it."""
        if metric not in self.metrics:
            raise UnknownName(f"{self.name} has no {metric}; it has {', '.join(self.metrics) or 'no metric'}")
        return self.metrics[metric]

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={e.value:.4g}" for k, e in self.metrics.items() if e.value is not None)
        return f"<{self.suite} of {self.label}, {self.n} samples of {self.dataset}: {numbers}>"

    @property
    def suite(self) -> str:
        """The suite that measured it: "recon", "geneval", "preference", "generation", "gfid" or "probe"."""
        return str(self.data.suite)

    @property
    def name(self) -> str:
        """The folder's name: unique among the results of one folder."""
        return self.folder.name

    @property
    def label(self) -> str:
        """What was measured: a tokenizer, a generator or a folder of pictures."""
        raise NotImplementedError

    @property
    def metrics(self) -> Mapping[str, Entry]:
        """Every measured number by its key."""
        return self.data.metrics

    def metric(self, key: str) -> Metric:
        """Return the metric of a measured number: its title, whether higher is better, its digits and its scale."""
        return described(key, self[key].model_dump())

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of `result.json` as dictionaries and lists, brought to today's version of the schema."""
        return schema.as_data(self.data)

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.data.dataset.name

    @property
    def n(self) -> int:
        """The number of samples that were measured."""
        return self.data.dataset.n

    @property
    def limit(self) -> int | None:
        """The limit that the user gave to the data set, None for all samples."""
        return self.data.limit

    @property
    def dtype(self) -> str:
        """The compute dtype of what was evaluated."""
        return self.data.run.dtype

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.data.run.seed

    @cached_property
    def records(self) -> pandas.DataFrame:
        """The values of each sample, a row for each, in the order of the data set.

        Raises:
            UserError: `records.parquet` is missing or damaged, or its columns are other ones than a result's.
        """
        numbers = [*self.metrics, "bits", "near_ties", "correct"]
        most = self.n + len(self.data.dataset.skipped)
        try:
            return stored_files.read_records(self.folder / "records.parquet", self.texts, numbers, most)
        except Damaged as error:
            raise UserError(f"{self.name}/{error}; run the command that made it again") from error

    @cached_property
    def about(self) -> dict[str, Any]:
        """The content of `run.json`: the machine, versions and times; empty where it cannot be read."""
        return stored_files.read_run(self.folder / "run.json")

    def seconds(self, stage: str) -> float | None:
        """Return the seconds of wall time that a stage took for each sample; None where they were not measured.

        A resumed run times only the samples that were left to do, so `run.json` has their number for each stage. Older
        files do not have it; their times are for all samples.
        """
        return _seconds_each(self.about, stage, self.n)


def _seconds_each(about: Mapping[str, Any], stage: str, samples: int) -> float | None:
    """Return the seconds of wall time that a stage took for each sample by a `run.json`; None where it does not say.

    Args:
        about: the content of the `run.json`.
        stage: the stage.
        samples: how many the times are for, where the file is too old to say so.
    """
    try:
        count = about.get("images", {stage: samples}).get(stage, 0)
        seconds = float(about["seconds"]["wall"][stage]) / count
    except (KeyError, ValueError, TypeError, AttributeError, ZeroDivisionError, OverflowError):
        return None
    return seconds if 0 < seconds < float("inf") else None


@dataclass(frozen=True, eq=False, repr=False)
class ReconResult(Result):
    """A tokenizer's reconstructions of one data set under one protocol."""

    @property
    def label(self) -> str:
        """The tokenizer's canonical name, options after `@`."""
        return self.data.tokenizer.name

    @property
    def tokenizer(self) -> dict[str, Any]:
        """The part `tokenizer` of `result.json`."""
        return self.result["tokenizer"]

    @property
    def protocol(self) -> dict[str, Any]:
        """The part `protocol` of `result.json`."""
        return self.result["protocol"]

    def table(self) -> str:
        """Return the result as a Markdown table of one row, as the command prints it."""
        from lactok.evaluation.table import markdown

        return markdown([self])


@dataclass(frozen=True, eq=False, repr=False)
class PicturesResult(Result):
    """A result about pictures that a generator made or that lie in a folder."""

    @property
    def label(self) -> str:
        """The generator's name, or the name of the folder of pictures (without the digits of its content's hash)."""
        pictures = self.data.pictures
        if pictures.generator is not None:
            return pictures.generator.name
        found = re.fullmatch(r"images-(.+)-[0-9a-f]{6}", pictures.name)
        return found[1] if found else pictures.name

    @property
    def generated(self) -> Path | None:
        """The folder whose `run.json` times the pictures that a generator made; None for somebody's own pictures.

        It is the result's own folder, unless the suite keeps pictures elsewhere.
        """
        return self.folder if self.data.pictures.generator is not None else None

    @cached_property
    def about_pictures(self) -> dict[str, Any]:
        """The `run.json` of the pictures that a generator made; empty where it cannot be read or there is none."""
        return stored_files.read_run(self.generated / "run.json") if self.generated is not None else {}

    @property
    def timed_images(self) -> int:
        """How many pictures `seconds_per_image` is measured on; 0 where it is not known.

        A resumed run counts those that it made itself; parts of a run are added up.
        """
        count = self.about_pictures.get("images", {}).get("generate", 0)
        return count if isinstance(count, int) else 0

    @property
    def seconds_per_image(self) -> float | None:
        """The seconds of wall time that a picture took its generator, in one process, from prompt to pixels.

        With a batch it is the batch's time divided by its pictures. None where nobody measured it.
        """
        return _seconds_each(self.about_pictures, "generate", self.timed_images)

    @property
    def images_per_second(self) -> float | None:
        """How many pictures one process of the generator makes in a second; None where nobody measured it."""
        seconds = self.seconds_per_image
        return 1 / seconds if seconds else None

    @property
    def timed_on(self) -> str:
        """What the pictures' times were measured on, in words: "NVIDIA H200, batch size 8"; "" where nobody did."""
        if self.seconds_per_image is None:
            return ""
        about = self.about_pictures
        device = str(about.get("device", ""))
        if device != "cpu":
            return f"{device}, batch size {about.get('batch_size', '?')}"
        machine = about.get("machine", {})
        threads = machine.get("threads", "?")
        together = about.get("images_at_a_time", 1)
        how = "one by one" if together == 1 else f"batch size {together}"
        return f"{machine.get('processor') or 'cpu'}, {threads} thread{'' if threads == 1 else 's'}, {how}"


class GenEvalResult(PicturesResult):
    """GenEval scores of a generator, or of a folder of pictures."""

    texts = ("id", "tag", "metadata")

    @property
    def generated(self) -> Path | None:
        """The folder of the pictures that the suite let a generator make; None for somebody's folder of pictures."""
        made = self.data.pictures.generator
        if made is None:
            return None
        return generated.of_geneval(self.folder.parent, made.name, made.samples, made.dtype, made.seed, made.prompts)

    def metric(self, key: str) -> Metric:
        """Return the metric of a GenEval task: the share of correct pictures; its title is its key."""
        return Metric(key, title=key, higher=True, own=False)


class PreferenceResult(PicturesResult):
    """Scores of pictures by reward models and, if there are references, their distance to photographs."""

    texts = ("id", "caption")

    @property
    def generated(self) -> Path | None:
        """The folder of the pictures that the suite let a generator make; None for somebody's folder of pictures."""
        made = self.data.pictures.generator
        if made is None:
            return None
        return generated.of_captions(self.folder.parent, made.name, self.dataset, made.dtype, made.seed)

    def metric(self, key: str) -> Metric:
        """Return the metric of a reward or a distance: its title, direction, digits and scale."""
        for reward in self.data.rewards:
            if reward.name == key:
                return titles.described(key, reward.higher_is_better)
        return super().metric(key)


class GenerationResult(PicturesResult):
    """Pictures that a generator made."""


class GfidResult(PicturesResult):
    """FID, Inception Score, precision and recall of pictures of ImageNet classes."""


@dataclass(frozen=True, eq=False, repr=False)
class ProbeResult(Result):
    """What a linear probe and a small autoregressive model make of a tokenizer's ids."""

    @property
    def label(self) -> str:
        """The tokenizer's canonical name, options after `@`."""
        return self.data.tokenizer.name

    def metric(self, key: str) -> Metric:
        """Return the declaration of a figure of the probes."""
        return FIGURES.get(key) or super().metric(key)


CLASSES: dict[str, type[Result]] = {
    "recon": ReconResult,
    "geneval": GenEvalResult,
    "preference": PreferenceResult,
    "generation": GenerationResult,
    "gfid": GfidResult,
    "probe": ProbeResult,
}


@dataclass(frozen=True, eq=False)
class Results(Sequence[Result]):
    """Several results, in the order of their folders' names.

    Attributes:
        every: the results.
        left_out: lines for the user: one for each folder that is damaged or of another program, and one if results of
            an older schema were read.
    """

    every: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.every)

    def __getitem__(self, index: Any) -> Any:
        return self.every[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.every)

    def of(self, kind: type[R]) -> tuple[R, ...]:
        """Return the results of one class; each suite has its own."""
        return tuple(r for r in self.every if isinstance(r, kind))

    @property
    def recon(self) -> tuple[ReconResult, ...]:
        """The results of reconstructions."""
        return self.of(ReconResult)

    @property
    def geneval(self) -> tuple[GenEvalResult, ...]:
        """The results of GenEval."""
        return self.of(GenEvalResult)

    @property
    def preference(self) -> tuple[PreferenceResult, ...]:
        """The results of preference scores."""
        return self.of(PreferenceResult)

    @property
    def gfid(self) -> tuple[GfidResult, ...]:
        """The results of generated pictures of classes."""
        return self.of(GfidResult)

    @property
    def probe(self) -> tuple[ProbeResult, ...]:
        """The results of probes of ids."""
        return self.of(ProbeResult)

    def without(self, *kinds: type[Result]) -> Results:
        """Return these results without those of the given classes."""
        return Results(tuple(r for r in self.every if not isinstance(r, kinds)), self.left_out)

    def table(self) -> str:
        """Return Markdown tables: reconstructions by images and protocol, then the other suites by data set.

        Reconstructions and probes are shown as the commands print them. Pictures without any score have no table.
        """
        from lactok.evaluation import pictures_table, probe_table
        from lactok.evaluation.table import markdown

        tables: dict[str, str] = {}
        groups: dict[tuple[str, ...], list[ReconResult]] = {}
        for result in self.recon:
            protocol = result.data.protocol
            group = (result.dataset, result.data.dataset.sha256, protocol.name, protocol.prepare, protocol.score)
            groups.setdefault(group, []).append(result)
        for (dataset, sha256, name, prepare, score), results in groups.items():
            title = f"{dataset}, {results[0].n} images, protocol {name} ({prepare}-{score})"
            tables[f"{title}, {sha256[:8]}" if title in tables else title] = markdown(results)
        others: dict[tuple[str, str], list[PicturesResult]] = {}
        for pictures in self.of(PicturesResult):
            if pictures.metrics:
                others.setdefault((pictures.suite, pictures.dataset), []).append(pictures)
        for (suite, dataset), scored in sorted(others.items()):
            tables[f"{suite} of {dataset}"] = pictures_table.markdown(scored)
        for probes in probe_table.groups(self.probe):
            tables[f"probes of {probes[0].dataset}, {probes[0].n} images"] = probe_table.markdown(probes)
        if len(tables) == 1:
            return next(iter(tables.values()))
        return "\n".join(f"{title}\n\n{table}" for title, table in tables.items())


def load(folder: Path) -> Result:
    """Read the result in a folder; raise `Damaged` if that cannot be done."""
    content = stored_files.read_json(folder / "result.json")
    data, older = schema.parsed(content, folder.name)
    return CLASSES[data.suite](folder, data, older)


def load_results(*runs: str | os.PathLike[str]) -> Results:
    """Read every stored result of one or several folders and bundles.

    The same result in two of them is read once.

    Args:
        runs: folders that were given to the suites as `out`, results' own folders, or bundles that
            `python -m reports bundle` wrote; without any the folder `runs`.

    Raises:
        MissingFile: there is no such folder.
        UserError: there is no result in it that can be read, and the message names the command to run first; a bundle
            is damaged; or two different results have the same name.

    >>> import tempfile, lactok
    >>> out = tempfile.mkdtemp()
    >>> _ = lactok.evaluate("resize-8", metrics="psnr", limit=2, out=out)
    >>> [result.label for result in lactok.load_results(out)]
    ['resize-8']
    """
    sources = runs or ("runs",)
    found: list[Result] = []
    left_out = []
    places = result_folders.places(sources)
    for place in places:
        try:
            found.append(load(place.folder))
        except Damaged as error:
            left_out.append(f"left out: {place.name!a}: {error}")
    if not found:
        named = " ".join(shown(os.fspath(source), 200) for source in sources)
        if len(places) == 1 and places[0].folder == Path(places[0].source):  # the folder of one result
            raise UserError(
                f"`runs` {named} is the folder of one result, and that cannot be read: "
                f"{left_out[0].partition(': ')[2].partition(': ')[2]}; run the command that made it again"
            )
        why = f"; {left_out[0]}" if left_out else ""
        out = f" --out {named}" if len(sources) == 1 and is_folder(Path(sources[0])) else ""
        raise UserError(f"`runs` {named} holds no results{why}; measure something first: {FIRST}{out}")
    return Results(tuple(found), (*left_out, *older_version_lines(found)))
