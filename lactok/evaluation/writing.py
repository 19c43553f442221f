"""Writing a result's folder: its name, `result.json`, `records.parquet` and `run.json`.

The first two files have the same bytes every time; what differs between runs, such as times, stands in `run.json`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.device import device_name
from lactok.errors import disk_errors
from lactok.evaluation.older_results import VERSION
from lactok.evaluation.schema import ResultPart, as_data, parsed
from lactok.evaluation.store import cut_name, folder_safe
from lactok.files import write_atomically

if TYPE_CHECKING:
    from lactok.evaluation.config import Run
    from lactok.evaluation.timing import Timer

LIBRARIES = (
    "torch",
    "torchvision",
    "torch-fidelity",
    "lpips",
    "clean-fid",
    "scikit-image",
    "scipy",
    "numpy",
    "pillow",
)


LONGEST = 220  # characters of a result's name: file systems take 255 bytes, and files beside it have longer names
SHORTEST = 40  # characters that are left of a part that is cut


def folder_name(*parts: str, limit: int | None = None, dtype: str = "float32", seed: int = 0, more: str = "") -> str:
    """Return the name of a result's folder, `<part>__<part>...[__limit][__dtype][__seed][__more]`.

    Settings that have their usual values are left out, so that names stay short. In names that are too long for a
    folder, the ends of the first parts are replaced by a few digits of their hash.

    Args:
        parts: what the result is of, such as the tokenizer, the data set and the protocol's hashes.
        limit: the limit that the user gave to the data set.
        dtype: the compute dtype.
        seed: the seed of the run.
        more: what else tells this result from others.

    >>> folder_name("jpeg@bits=8", "my photos", "1a-2b", limit=5, seed=3)
    'jpeg@bits=8__my-photos__1a-2b__limit5__seed3'
    """
    named = list(parts)
    if limit is not None:
        named.append(f"limit{limit}")
    if dtype != "float32":
        named.append(dtype)
    if seed != 0:
        named.append(f"seed{seed}")
    if more:
        named.append(more)
    safe = [folder_safe(part) for part in named]
    for i, part in enumerate(safe):  # the first parts are cut first: stored results are told by the end of their names
        over = len("__".join(safe)) - LONGEST
        if over > 0:
            safe[i] = cut_name(part, max(len(part) - over, SHORTEST))
    return "__".join(safe)


def write_result(
    folder: Path,
    content: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]],
    run: Run,
    timer: Timer,
    libraries: Sequence[str] = LIBRARIES,
    texts: Sequence[str] = ("caption",),
    more: Mapping[str, Any] | None = None,
) -> ResultPart:
    """Write a result's folder, `result.json` last.

    Args:
        folder: the folder; it is made if need be.
        content: the content of `result.json`, without the version of the schema; NaN becomes null.
        columns, texts: the columns of the records and the names of those that hold texts, see `write_records`.
        run: the run, whose device and batch size `run.json` states.
        timer: the times. If it is empty, since everything was in the store, an earlier `run.json` stays.
        libraries: the libraries whose versions `run.json` states.
        more: what else it states.

    Returns:
        The content of `result.json`.

    Raises:
        DiskError: the disk is full or cannot be written to.
    """
    result, _ = parsed(_finite({"schema": VERSION, **content}))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_records(folder / "records.parquet", columns, texts)
        if timer.wall or not (folder / "run.json").exists():
            about = environment(run, timer, libraries) | {"batch_size": run.batch_size} | dict(more or {})
            write_atomically(folder / "run.json", to_json(about))
        write_atomically(folder / "result.json", to_json(as_data(result)))
    return result


def to_json(value: object) -> bytes:
    """Return a value as JSON, the same bytes every time.

    Numbers that are not finite become null, and half of a surrogate pair, as in a file's name that is not Unicode, a
    question mark.
    """
    return (json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    """Return a value with None for all numbers in it that are not finite, since JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def write_records(path: Path, columns: Mapping[str, Sequence[Any]], texts: Sequence[str] = ("caption",)) -> None:
    """Write a table of records, a row for each sample.

    Args:
        path: the Parquet file.
        columns: the columns by name, all of one length; a value that is missing is None.
        texts: the names of columns that hold texts, which cannot be told where all are missing. In them, half of a
            UTF-16 surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark.
    """
    import pandas

    frame = pandas.DataFrame(dict(columns))
    for name in frame.columns:
        if name in texts:
            frame[name] = frame[name].map(_utf8, na_action="ignore").astype("string")
        elif any(isinstance(value, bool) for value in columns[name]):
            frame[name] = frame[name].astype("boolean")
    out = io.BytesIO()
    frame.to_parquet(out, engine="pyarrow", index=False)
    write_atomically(path, out.getvalue())


def _utf8(text: str) -> str:
    """Return a text with a question mark for what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed: not every suite needs all of them."""
    found = {}
    for name in libraries:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def environment(run: Run, timer: Timer, libraries: Sequence[str]) -> dict[str, Any]:
    """Return what may differ between two runs with the same result: machine, versions, times, memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, in KiB on Linux
    return {
        "machine": {"platform": platform.platform(), "processor": processor(), "threads": run.threads},
        "device": device_name(run.device) if run.device.startswith("cuda") else run.device,
        "python": platform.python_version(),
        "versions": _versions(libraries),
        "seconds": {"wall": dict(timer.wall), "cpu": dict(timer.cpu)},
        "images": dict(timer.images),  # the seconds are of these many: a resumed run times only what was left
        "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
    }


def processor() -> str:
    """Return the processor's model name where the system tells it, else the kind of processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
