"""A picture that was judged before is not looked at again for the agreement of verdicts and truth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from PIL import Image

from benchmarks.geneval.detectors import Detection
from benchmarks.scenes.agreement import judge


def test_known_detections_are_not_made_again(tmp_path: Path) -> None:
    truths = []
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        truths.append(SimpleNamespace(picture=tmp_path / f"{name}.png"))
    looked: list[int] = []
    made = [Detection("cup", 0.9, (0, 0, 4, 4), None), Detection("cup", 0.1, (0, 0, 2, 2), None)]

    def detect(image: Image.Image) -> list[Detection]:
        looked.append(1)
        return made

    detector: Any = SimpleNamespace(detect=detect, spec=SimpleNamespace(threshold=0.3, counting_threshold=0.5))
    colours: Any = SimpleNamespace(classify=lambda image, found: ["red"] * len(found))
    known = {(tmp_path / "a.png").resolve(): made}
    judged = judge(cast(Any, truths), detector, colours, lambda done, total: None, known)
    assert len(looked) == 1
    assert [(j.found, j.colours) for j in judged] == [([made[0]], ["red"])] * 2
