"""`python -m benchmarks.recon.variety`: whether different photographs give different pictures, to the eye of VGG.

A tokenizer of few ids may decode much the same picture from all of them. Two numbers show it. The mean LPIPS between
reconstructions of different photographs is set beside that between the photographs themselves. And each reconstruction
looks for its photograph among all of them, by the averaged features of VGG: the five maps that LPIPS compares, of
length 1 at each place, averaged over the image, each mean brought to length 1; they are not centred, so pictures that
are all alike find the same photograph.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.recon import pairs
from lactok.command import command
from lactok.errors import UserError, WrongValue
from lactok.evaluation.config import Settings

if TYPE_CHECKING:
    import numpy as np

    from lactok.evaluation.results import ReconResult

DESCRIPTION = (
    "Whether different photographs give different pictures: the mean LPIPS between reconstructions beside that between "
    "photographs, and how many reconstructions find their photograph by the averaged features of VGG. All pictures are "
    "kept."
)
NEIGHBOURS = 10  # pictures that each is compared with: those that come before it


@dataclass(frozen=True)
class Variety:
    """What the pictures of one tokenizer, or the photographs, are like among themselves.

    Attributes:
        distances: LPIPS (AlexNet) of each picture to the `NEIGHBOURS` before it, float64.
        features: VGG's averaged features of each picture, (N, 1472).
    """

    distances: np.ndarray
    features: np.ndarray


def variety_of(files: Sequence[Path], device: str) -> Variety:
    """Compare the images of some files with each other; they have one size.

    Args:
        files: N images.
        device: where the networks compute.
    """
    import numpy as np
    import torch
    import torch.nn.functional as F
    from PIL import Image

    from lactok.nn.lpips import load_lpips

    alex, vgg = load_lpips("alex", device), load_lpips("vgg", device)

    def image(file: Path) -> torch.Tensor:
        pixels = torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy())
        return pixels.permute(2, 0, 1)[None].to(device).float() / 127.5 - 1

    distances, features = [], []
    before: deque[list[torch.Tensor]] = deque(maxlen=NEIGHBOURS)  # AlexNet's maps, which are large
    with torch.inference_mode():
        for file in files:
            pixels = image(file)
            maps = alex.features(pixels)
            distances += [float(alex.distance(maps, others)) for others in before]
            before.append(maps)
            means = [F.normalize(m.mean((2, 3)), dim=1) for m in vgg.features(pixels)]
            features.append(torch.cat(means, 1)[0].cpu().numpy())
    return Variety(np.array(distances), np.stack(features))


def kept_pictures(result: ReconResult) -> tuple[list[Path], list[Path]]:
    """Return the files of a row's reconstructions and of their photographs, in the same order.

    Raises:
        UserError: not all of them are kept.
    """
    images = result.folder / "images"
    index = json.loads((images / "index.json").read_text())
    references = result.folder.parent / "references" / index["references"]
    names = [picture["file"] for picture in index["pictures"]]
    outputs, photographs = [images / name for name in names], [references / name for name in names]
    if not all(path.is_file() for path in (*outputs, *photographs)):
        raise UserError(f"{images}: pictures or their photographs are missing; run the same command again")
    return outputs, photographs


def entry_of(result: ReconResult, device: str, of_photographs: dict[tuple[Path, ...], Variety]) -> dict[str, Any]:
    """Return a finished row's entry: {"name", "n", "lpips", "photographs", "ratio", "right"}.

    "lpips" is the mean LPIPS between reconstructions, "photographs" that between photographs, "ratio" the first divided
    by the second; "right", the share of reconstructions that find their photograph, is {"value", "ci95", "chance"}.

    Args:
        result: the row.
        device: where the networks compute.
        of_photographs: what is known of photographs from other rows, by their files; what is new is added.
    """
    from lactok.evaluation.statistics import mean_with_interval
    from lactok.metrics.retrieval import ranks

    outputs, photographs = kept_pictures(result)
    key = tuple(photographs)
    if key not in of_photographs:
        of_photographs[key] = variety_of(photographs, device)
    made, given = variety_of(outputs, device), of_photographs[key]
    found = ranks(made.features, given.features) == 0
    value, interval = mean_with_interval(found.astype(float))
    lpips, between_photographs = float(made.distances.mean()), float(given.distances.mean())
    return {
        "name": result.label,
        "n": len(outputs),
        "lpips": lpips,
        "photographs": between_photographs,
        "ratio": lpips / between_photographs,
        "right": {"value": value, "ci95": interval, "chance": 1 / len(outputs)},
    }


def table(entries: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a row per entry of `entry_of`."""
    from tabulate import tabulate

    rows = []
    for entry in entries:
        low, high = entry["right"]["ci95"] or (entry["right"]["value"],) * 2
        row = [entry["name"], f"{entry['lpips']:.3f}", f"{entry['photographs']:.3f}", f"{entry['ratio']:.2f}"]
        right = f"{entry['right']['value']:.3f} ({low:.3f} to {high:.3f})"
        rows.append([*row, right, f"{entry['right']['chance']:.3f}", str(entry["n"])])
    head = ["tokenizer", "LPIPS between pictures ↑", "between photographs", "ratio ↑", "right by VGG ↑", "chance", "n"]
    text = tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 6)
    return f"{text}\n\nIn brackets the 95 % interval over images.\n"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 3 if a tokenizer failed or lacks its weights."""
    args = pairs.parser("variety", DESCRIPTION).parse_args(argv)
    settings = Settings.of(vars(args) | {"pictures": "all"})
    names = pairs.checked_names(args.tokenizers, settings, "all images are looked through at once")
    settings.use_machine()
    from lactok.evaluation.evaluate import resolve_sources
    from lactok.evaluation.measuring import evaluate_sources, report_unfinished
    from lactok.evaluation.metric_networks import with_networks

    run, dataset = with_networks(settings.run(), settings.metrics), settings.data()
    if len(dataset.samples) < 2:
        raise WrongValue(f"{dataset.name}: pictures are compared with each other, one is not enough")
    sources, missing, failed = resolve_sources(names, protocol=run.protocol)
    outcome = evaluate_sources(sources, dataset, run, settings.execution())
    if outcome.results:
        known: dict[tuple[Path, ...], Variety] = {}
        entries = [entry_of(result, settings.device, known) for result in outcome.results]
        path = pairs.write_entries("variety", entries, dataset, run, settings)
        print(f"\n{dataset.name}: {len(dataset.samples)} images, at {run.protocol.prepare.size_text}\n")
        print(f"{table(entries)}\nwritten: {path}")
    return report_unfinished(missing, failed | outcome.failed, strict=True)


if __name__ == "__main__":
    main()
