"""The error profile of a result: `profile.json`, means with intervals and the worst samples, and `profile.npz`.

It is made from what the metric `error_profile` stored of each image, see `lactok.metrics.error_profile`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lactok.evaluation import stored_files
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.statistics import mean_entry
from lactok.evaluation.writing import to_json
from lactok.files import write_atomically
from lactok.metrics.error_profile import OCTAVES, kept

KEY = "error_profile"
# why a sample is among the worst -> the array that says by how much it is off
WORST = {f"worst {what}": f"{KEY}:{what}" for what in ("brightness", "colour", "detail")}
NAMED = 10  # worst samples of each kind that are named
LEAST_CHROMA = 1.0  # of a reference, below which a ratio of chroma means nothing


def profile(arrays: Mapping[str, np.ndarray], samples: Sequence[str]) -> dict[str, Any]:
    """Return the content of `profile.json`; `docs/ids-and-errors.md` says what its numbers are.

    Args:
        arrays: the state of the metric, see `lactok.metrics.error_profile.error_profile`, with a row for each image.
        samples: the names of the images.
    """
    shift = arrays["lab_output"] - arrays["lab_reference"]
    chroma = {what: arrays[f"lab_{what}"][:, 3] for what in ("reference", "output")}
    coloured = chroma["reference"] >= LEAST_CHROMA
    power = arrays["power_reference"], arrays["power_output"]
    shares, ratios = kept(*power), power[1] / power[0]
    octaves = []
    for k in range(OCTAVES):
        entry = {"above": 2.0 ** -(k + 2), "kept": mean_entry(shares[:, k])}
        octaves.append(entry | {"median_ratio": float(np.median(ratios[:, k]))})
    worst = {}
    for reason, name in WORST.items():
        values = arrays[name.removeprefix(f"{KEY}:")]
        order = np.argsort(-values, kind="stable")[:NAMED]
        worst[reason] = [{"sample": samples[i], "by": float(values[i])} for i in order]
    return {
        "images": len(samples),
        "lightness_shift": mean_entry(shift[:, 0]),
        "brightness": mean_entry(arrays["brightness"]),
        "a_shift": mean_entry(shift[:, 1]),
        "b_shift": mean_entry(shift[:, 2]),
        "colour": mean_entry(arrays["colour"]),
        "chroma_ratio": mean_entry(chroma["output"][coloured] / chroma["reference"][coloured]),
        "octaves": octaves,
        "worst": worst,
    }


def write(folder: Path, states: Sequence[Mapping[str, np.ndarray]], samples: Sequence[str]) -> None:
    """Write `profile.json` and `profile.npz` into a result's folder.

    Args:
        folder: the folder.
        states: the states of all shards with images, in order.
        samples: the names of the images, in the order of the records.
    """
    arrays = {name: np.concatenate([state[name] for state in states]) for name in sorted(states[0])}
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, samples=np.array(samples, dtype=np.str_), **arrays)
    write_atomically(folder / "profile.npz", out.getvalue())
    write_atomically(folder / "profile.json", to_json(profile(arrays, samples)))


def stored_profile(folder: Path) -> dict[str, Any] | None:
    """Return the content of a result's `profile.json`, None where there is none that can be read.

    Args:
        folder: the result's folder.
    """
    try:
        found = stored_files.read_json(folder / "profile.json")
        numbers = [found[name]["value"] for name in ("lightness_shift", "a_shift", "b_shift", "chroma_ratio", "colour")]
        numbers += [octave["kept"]["value"] for octave in found["octaves"]]
        names = [entry["sample"] for reason in WORST for entry in found["worst"][reason]]
    except (Damaged, LookupError, TypeError):
        return None
    is_whole = all(isinstance(number, float | int | None) for number in numbers) and len(found["octaves"]) == OCTAVES
    return found if is_whole and all(isinstance(name, str) for name in names) else None
