"""Writing a result: the folder's name, `result.json` and `records.parquet` (the same bytes every time), `run.json`."""

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

from lactok.errors import disk_errors
from lactok.evaluation.schema import VERSION, ResultPart, as_data, parsed
from lactok.evaluation.store import folder_safe, write_atomically

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


def folder_name(*parts: str, limit: int | None = None, dtype: str = "float32", seed: int = 0, more: str = "") -> str:
    """`<part>__<part>...[__limit][__dtype][__seed][__more]`: what is usual is left out, so names stay short.

    >>> folder_name("jpeg@bits=8", "my photos", "1a-2b", limit=5, seed=3)
    'jpeg@bits=8__my-photos__1a-2b__limit5__seed3'
    """
    named = [*parts] + [f"limit{limit}"] * (limit is not None) + [dtype] * (dtype != "float32")
    named += [f"seed{seed}"] * (seed != 0) + [more] * bool(more)
    return "__".join(folder_safe(part) for part in named)


def write_result(
    folder: Path,
    content: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]],
    run: Run,
    timer: Timer,
    libraries: Sequence[str] = LIBRARIES,
    texts: Sequence[str] = ("caption",),
) -> ResultPart:
    """Write a result's folder, `result.json` last.

    Args:
        content: what `result.json` holds, without the version of the schema; NaN becomes null.
        columns, texts: of the records, see `write_records`.
        timer: a run that computed nothing has no times of its own, so an earlier `run.json` stays.

    Returns:
        The result as readers see it.
    """
    result, _ = parsed(_finite({"schema": VERSION, **content}))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_records(folder / "records.parquet", columns, texts)
        if timer.wall or not (folder / "run.json").exists():
            about = environment(run.device, timer, libraries) | {"batch_size": run.batch_size}
            write_atomically(folder / "run.json", to_json(about))
        write_atomically(folder / "result.json", to_json(as_data(result)))
    return result


def to_json(value: object) -> bytes:
    """A value as JSON, the same bytes every time; what is not finite is null."""
    return (json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be computed is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def write_records(path: Path, columns: Mapping[str, Sequence[Any]], texts: Sequence[str] = ("caption",)) -> None:
    """A row a sample.

    Args:
        texts: columns that are texts even where all are missing; in them a lone surrogate, which JSON can hold and
            UTF-8 cannot, becomes a question mark. Columns of truth values may lack some.
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
    return text.encode("utf-8", "replace").decode("utf-8")


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are installed: not every suite needs all of them."""
    found = {}
    for name in libraries:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def environment(device: str, timer: Timer, libraries: Sequence[str]) -> dict[str, Any]:
    """What may differ between two runs of the same bytes: machine, versions, times, memory."""
    import torch

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "machine": {"platform": platform.platform(), "processor": processor(), "threads": torch.get_num_threads()},
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "python": platform.python_version(),
        "versions": _versions(libraries),
        "seconds": {"wall": dict(timer.wall), "cpu": dict(timer.cpu)},
        "images": dict(timer.images),  # that these seconds were spent on: a run that was resumed timed its own alone
        "peak_memory_bytes": peak * (1 if sys.platform == "darwin" else 1024),
    }


def processor() -> str:
    """The processor's own name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
