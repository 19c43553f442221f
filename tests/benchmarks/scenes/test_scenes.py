"""Composed scenes: their truth is true, their captions hold or fail as recorded; the judge's contract and training."""

from __future__ import annotations

import colorsys
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import shared
from PIL import Image
from recipes import assert_resumes
from torch import Tensor, nn

from benchmarks.geneval import detectors
from benchmarks.geneval.detectors import COLOURS, Detection, Detector
from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes import __main__ as commands
from benchmarks.scenes import agreement, folder
from benchmarks.scenes.compose import VISIBLE, Plan, Scene, Wanted, compose
from benchmarks.scenes.detector import ASSET, SceneColours, SceneDetector
from benchmarks.scenes.evaluation import mask_iou
from benchmarks.scenes.finding import detections
from benchmarks.scenes.network import PROTOTYPES, DetectorOutput, NetShape
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.scenes.tasks import metadata
from benchmarks.scenes.training import (
    ComposedScenes,
    SceneLearner,
    SceneRecipe,
    SceneTrainer,
    objects_of,
    pack,
    scene_for,
)
from lactok import config
from lactok.training import checkpoint
from lactok.training.distributed import accelerator_of

TINY = SceneRecipe(
    name="tiny",
    steps=4,
    batch=2,
    model=NetShape((8, 8, 8, 8), (1, 1, 1, 1), 8),
    workers=0,
    validation=2,
    warmup=1,
    log_every=1,
    eval_every=4,
    save_every=2,
)


def any_scene(seed: int, name: str | None = None) -> Scene:
    rng = np.random.default_rng(seed)
    count = 1 if name else int(rng.integers(1, 7))
    return compose(
        Plan(tuple(Wanted(name or str(rng.choice(VOCABULARY)), str(rng.choice(COLOURS))) for _ in range(count))), seed
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes")
    folder.make(out, 36, 3, seed=5, broken=0.5)
    return out


# -- scenes


def test_a_scene_is_its_seeds() -> None:
    plan = Plan((Wanted("cup", "red"), Wanted("kite", "white")), "above")
    scenes = [compose(plan, seed) for seed in (1, 1, 2)]
    assert all(np.array_equal(getattr(scenes[0], k), getattr(scenes[1], k)) for k in ("image", "bare", "labels"))
    assert not np.array_equal(scenes[0].image, scenes[2].image)


@pytest.mark.parametrize("seed", range(12))
def test_masks_and_boxes_are_where_objects_are_seen(seed: int) -> None:
    scene = any_scene(seed)
    assert scene.image.shape == (256, 256, 3)
    changed = np.abs(scene.image.astype(int) - scene.bare).max(2)
    for i in range(len(scene.objects)):
        mask, (left, top, right, bottom) = scene.mask(i), scene.box(i)
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
        assert all(edge.any() for edge in (mask[top], mask[bottom - 1], mask[:, left], mask[:, right - 1]))
        assert 20 <= max(right - left, bottom - top) <= 120
        assert (changed[mask] > 12).mean() > 0.8
    far = np.asarray(Image.fromarray(scene.labels > 0).resize((32, 32), Image.Resampling.BOX).resize((256, 256))) == 0
    assert changed[far & (scene.labels == 0)].mean() < changed[scene.labels > 0].mean() / 4


@pytest.mark.parametrize("name", VOCABULARY)
def test_every_object_keeps_its_sizes_and_is_seen_whole_when_alone(name: str) -> None:
    for seed in range(4):
        scene = any_scene(seed, name)
        left, top, right, bottom = scene.box(0)
        assert 28 <= max(right - left, bottom - top) <= 120
        assert left > 0 < top
        assert right < 256 > bottom


def test_objects_hide_little_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is seen of every object of a full scene, against the same object drawn above all others."""
    for seed in range(6):
        names = tuple(Wanted(str(n), "blue") for n in np.random.default_rng(seed).choice(VOCABULARY, 6))
        scene = compose(Plan(names), seed)
        boxes = [scene.box(i) for i in range(6)]
        for (a, first), (b, second) in itertools.combinations(enumerate(boxes), 2):
            across = min(first[2], second[2]) - max(first[0], second[0])
            down = min(first[3], second[3]) - max(first[1], second[1])
            common_area = max(0, across) * max(0, down)
            smaller = min((q[2] - q[0]) * (q[3] - q[1]) for q in (boxes[a], boxes[b]))
            assert common_area <= (1 - VISIBLE) * smaller


@pytest.mark.parametrize("color", COLOURS)
def test_colours_are_what_they_are_called(color: str) -> None:
    for seed, name in enumerate(("apple", "banana", "cup", "kite", "bowl")):
        scene = compose(Plan((Wanted(name, color),)), seed)
        red, green, blue = np.median(scene.image[scene.mask(0)], 0) / 255
        assert called(red, green, blue) == color


def called(red: float, green: float, blue: float) -> str:
    """A colour's name by rules of its own."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    degrees = hue * 360
    if value < 0.22:
        return "black"
    if saturation < 0.16 and value > 0.55:
        return "white"
    if 10 < degrees < 42:
        return "brown" if value < 0.6 else "orange"
    names = {14: "red", 42: "orange", 75: "yellow", 170: "green", 250: "blue", 300: "purple", 350: "pink", 361: "red"}
    return next(name for end, name in names.items() if degrees < end)


# -- captions


def form(value: object) -> object:
    """Keys in their order, and kinds of values."""
    if isinstance(value, dict):
        return tuple((key, form(inner)) for key, inner in value.items())
    return tuple(map(form, value)) if isinstance(value, list) else type(value)


def test_captions_are_genevals() -> None:
    official = [json.loads(line) for line in shared("golden", "geneval", "evaluation_metadata.jsonl").open()]
    by_prompt = {prompt["prompt"]: json.dumps(prompt) for prompt in official}
    forms = {task: {form(prompt) for prompt in official if prompt["tag"] == task} for task in TASKS}
    found = Counter[str]()
    for number in range(6000):
        caption = folder.caption_of(0, number)
        assert form(caption) in forms[caption["tag"]]
        if caption["prompt"] in by_prompt:
            assert json.dumps(caption) == by_prompt[caption["prompt"]]
            found[caption["tag"]] += 1
    assert len(found) >= 5


def holds(caption: dict[str, Any], objects: Sequence[dict[str, Any]]) -> bool:
    """By counting and looking, with GenEval's rule for positions."""
    groups = [[o for o in objects if o["class"] == clause["class"]] for clause in caption["include"]]
    for clause, group in zip(caption["include"], groups, strict=True):
        if len(group) < clause["count"] or (caption["tag"] == "counting" and len(group) != clause["count"]):
            return False
        if "color" in clause and any(o["color"] != clause["color"] for o in group):
            return False
        if "position" in clause:
            relation, other = clause["position"]
            if not all(stands(a["box"], b["box"], relation, 0.5) for a in group for b in groups[other]):
                return False
    return True


def stands(a: Sequence[int], b: Sequence[int], relation: str, share: float) -> bool:
    away = np.array([a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]]) / 2
    sizes = np.array([a[2] - a[0] + b[2] - b[0], a[3] - a[1] + b[3] - b[1]])
    x, y = np.sign(away) * np.maximum(np.abs(away) - 0.1 * sizes, 0) / np.hypot(*away)
    return bool({"left of": x < -share, "right of": x > share, "above": y < -share, "below": y > share}[relation])


@pytest.mark.slow
def test_captions_hold_or_fail_as_recorded(made: Path) -> None:
    broken = Counter[str]()
    for path in sorted(made.iterdir()):
        caption = json.loads((path / "metadata.jsonl").read_text())
        records = [json.loads(line) for line in (path / "truth.jsonl").read_text().splitlines()]
        assert [p.stem for p in sorted((path / "samples").iterdir())] == [r["sample"] for r in records]
        for record in records:
            assert holds(caption, record["objects"]) == record["holds"] == (record["violation"] is None)
            if record["violation"]:
                broken[record["violation"]["kind"]] += 1
            if caption["tag"] == "position" and (record["holds"] or record["violation"]["kind"] == "relation"):
                target, mover = record["objects"][:2]
                shown = [
                    r for r in ("left of", "right of", "above", "below") if stands(mover["box"], target["box"], r, 0.35)
                ]
                wanted = caption["include"][1]["position"][0]
                assert shown == [wanted if record["holds"] else record["violation"]["found"]]
    assert broken.keys() == {"missing", "count", "colour", "relation"}


@pytest.mark.slow
def test_the_folder_comes_back_as_it_was_made(made: Path, tmp_path: Path) -> None:
    truths = list(folder.read(made))
    assert len(truths) == 36 * 3
    folder.make(tmp_path, 2, 3, seed=5, broken=0.5)
    for path in tmp_path.rglob("*.*"):
        assert path.read_bytes() == (made / path.relative_to(tmp_path)).read_bytes()
    scene, violation = folder.scene_of(truths[4].caption, 5, 1, 1, 0.5)
    assert np.array_equal(np.asarray(Image.open(truths[4].picture)), scene.image)
    assert truths[4].violation == violation
    for i, found in enumerate(truths[4].objects):
        assert np.array_equal(found.mask, scene.mask(i))
        assert found.box == scene.box(i)


@pytest.mark.parametrize("corner", [False, True])
def test_run_lengths_come_back(corner: bool) -> None:
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    mask[0, 0] = corner
    encoded = folder.run_lengths(mask)
    assert sum(encoded["counts"]) == mask.size
    assert np.array_equal(folder.mask_of(encoded), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize("density", [0, 0.02, 0.5, 1])
def test_run_lengths_are_cocos(density: float) -> None:
    """A truth's masks are what COCO's own tools read, and are read here as they read them."""
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    mask = np.random.default_rng(1).random((33, 57)) < density
    encoded = folder.run_lengths(mask)
    theirs = coco.frPyObjects(encoded, *encoded["size"])
    assert theirs == coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(coco.decode(theirs), mask)
    assert coco.area(theirs) == mask.sum()
    if density:
        other = np.roll(mask, 3, axis=1)
        encoded = coco.encode(np.asfortranarray(other.astype(np.uint8)))
        assert mask_iou(mask, other) == coco.iou([theirs], [encoded], [False])[0, 0]


# -- the judge


@pytest.fixture
def random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """Weights of no training, by which nearly everything is an object."""
    learner = SceneLearner(replace(TINY, model=NetShape()))
    nn.init.zeros_(learner.detector.heat.bias)  # type: ignore[arg-type]
    halves = {k: v.half() for k, v in learner.exported().items()}
    checkpoint.save_state(tmp_path / f"{ASSET.name}.safetensors", halves, {})
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("size", [(256, 256), (420, 300), (64, 100), (301, 257)])
def test_the_judge_keeps_its_contract(random_weights: Path, size: tuple[int, int]) -> None:
    detector = detectors.find("detector", "scenes-tiny")()
    colours = detectors.find("colour", "scenes-tiny")()
    assert isinstance(detector, SceneDetector)
    assert isinstance(colours, SceneColours)
    assert not detector.spec.comparable
    assert detector.spec.vocabulary == VOCABULARY
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    found = detector.detect(image)
    assert found
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for d in found:
        assert d.name in VOCABULARY
        assert 0 <= d.score <= 1
        assert 0 <= d.box[0] < d.box[2] <= size[0]
        assert 0 <= d.box[1] < d.box[3] <= size[1]
        assert d.mask is not None
        assert (d.mask.shape, d.mask.dtype) == ((size[1], size[0]), bool)
    told = colours.classify(image, found)
    assert len(told) == len(found)
    assert set(told) <= set(COLOURS)
    assert colours.classify(image, []) == []
    assert len(colours.classify(image, [replace(found[0], mask=None)])) == 1


class OnePeak(nn.Module):
    """Says: a cup about cell (row 20, column 12), 16 px to each side, its mask the left half of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: Tensor) -> DetectorOutput:
        height, width = (side // 4 for side in pictures.shape[-2:])
        heat = torch.full((1, len(VOCABULARY), height, width), -9.0)
        heat[0, VOCABULARY.index("cup"), 20, 12] = 2.0
        prototypes = torch.full((1, PROTOTYPES, height, width), -1.0)
        prototypes[..., : width // 2] = 1.0
        coefficients = torch.zeros(1, PROTOTYPES + 1, height, width)
        coefficients[:, 0] = 1.0
        return DetectorOutput(heat, torch.full((1, 4, height, width), 16.0), coefficients, prototypes)


@pytest.mark.parametrize(("size", "times"), [((256, 256), 1), ((512, 512), 2), ((512, 1024), 2)])
def test_peaks_become_boxes_of_the_image(size: tuple[int, int], times: int) -> None:
    (found,) = detections(OnePeak(), Image.new("RGB", size))  # type: ignore[arg-type]
    assert found.name == "cup"
    assert found.score == pytest.approx(torch.tensor(2.0).sigmoid().item())
    x, y = 12.5 * 4 * times, 20.5 * 4 * times
    assert found.box == pytest.approx((x - 16 * times, y - 16 * times, x + 16 * times, y + 16 * times))
    assert found.mask is not None
    rows, columns = np.nonzero(found.mask)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (
        found.box[0],
        found.box[2],
        found.box[1],
        found.box[3],
    )


def test_labelled_pictures_carry_the_whole_truth() -> None:
    scenes = [any_scene(seed) for seed in range(3)]
    found = objects_of(torch.stack([pack(s, s.image) for s in scenes])[:, 3:])
    expected = [(i, n, w.name, w.color) for i, s in enumerate(scenes) for n, w in enumerate(s.objects)]
    assert len(found.names) == len(expected)
    for k, (i, n, name, color) in enumerate(expected):
        assert (found.which[k], VOCABULARY[int(found.names[k])], COLOURS[int(found.colours[k])]) == (i, name, color)
        assert tuple(found.boxes[k].int().tolist()) == scenes[i].box(n)
        assert np.array_equal(found.masks[k].numpy(), scenes[i].mask(n))


# -- training


def run_of(recipe: SceneRecipe, out: Path) -> SceneTrainer:
    return SceneTrainer(recipe, SceneLearner(recipe), out, accelerator_of("cpu"))


@pytest.mark.slow
def test_killed_and_resumed_is_bit_for_bit(tmp_path: Path) -> None:
    few = replace(TINY, workers=1)  # who composes changes nothing
    assert_resumes(tmp_path, lambda out: run_of(TINY, out), lambda out: run_of(few, out))


@pytest.mark.slow
def test_gradients_are_the_same_every_time() -> None:
    learner = SceneLearner(TINY)
    scenes = torch.stack([pack(s, s.image) for s in (scene_for(0, "train", i) for i in (20, 21))])  # five objects

    def gradients() -> bytes:
        learner.zero_grad()
        learner(scenes, torch.tensor([0, 1]), 0)[0].backward()
        return b"".join(p.grad.numpy().tobytes() for p in learner.parameters())  # type: ignore[union-attr]

    assert len({gradients() for _ in range(20)}) == 1


def test_a_batch_without_objects_trains(tmp_path: Path) -> None:
    learner = SceneLearner(TINY)
    empty = compose(Plan(()), 0)
    loss, parts = learner(pack(empty, empty.image)[None], torch.tensor([0]), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert parts["box"] == parts["mask"] == parts["colour"] == 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learner.detector.parameters())


def test_streams_of_scenes_are_apart() -> None:
    train, validation = scene_for(0, "train", 3), scene_for(0, "validation", 3)
    assert not np.array_equal(train.image, validation.image)
    again = ComposedScenes(TINY)[3]
    assert torch.equal(again, ComposedScenes(TINY)[3])
    assert np.array_equal(again[3].numpy(), train.labels)


def test_the_recipe_is_read() -> None:
    recipe = config.read(commands.RECIPE, SceneRecipe)
    assert recipe.name == ASSET.name
    assert recipe.model == NetShape()  # what the shipped detector is built with


# -- agreement


def by_holding(caption: dict[str, Any], found: Sequence[Detection], colours: Sequence[str]) -> tuple[bool, str]:
    """Stands in for GenEval's scorer: what `holds` says."""
    objects = [{"class": d.name, "box": d.box, "color": c} for d, c in zip(found, colours, strict=True)]
    return holds(caption, objects), "expected x>=1, found 0"


def test_a_judge_without_a_fault_agrees(made: Path) -> None:
    truths = list(folder.read(made))
    judged = [agreement.Judged(t, t.objects, t.colours) for t in truths]
    figures = agreement.summarize(judged, by_holding)
    assert figures["tasks"].keys() == set(TASKS)
    for task in figures["tasks"].values():
        assert task["agreement"] == 1
        assert task["errors"] == {}
        assert task["score"] == task["true"]
        assert task["shuffled"] == task["chance"] < task["true"]
    assert "100.0 %" in agreement.table(figures)


def test_a_blind_judge_refuses_everything(made: Path) -> None:
    truths = list(folder.read(made))
    figures = agreement.summarize([agreement.Judged(t, (), ()) for t in truths], by_holding)
    assert figures["overall"]["score"] == 0
    for name, task in figures["tasks"].items():
        number = sum(t.holds for t in truths if t.caption["tag"] == name)
        assert task["errors"] == {"refused: too few": number}
        assert task["agreement"] == pytest.approx(1 - task["true"])
        assert task["shuffled"] == 0


def test_the_judge_is_asked_by_name_and_above_its_threshold(made: Path) -> None:
    truths = list(folder.read(made))[:9]
    by_picture = {t.picture.read_bytes(): t for t in truths}
    shown: list[set[str]] = []

    class Perfect(Detector):
        spec = SceneDetector.spec

        def __init__(self) -> None:
            self.left = iter(truths)

        def detect(self, image: Image.Image) -> list[Detection]:
            self.now = next(self.left)
            return [*self.now.objects, Detection("tv", 0.001, (0, 0, 9, 9))]

    detector = Perfect()

    class PerfectColours(SceneColours):
        def __init__(self) -> None:
            pass

        def classify(self, image: Image.Image, detections: Sequence[Detection]) -> list[str]:
            shown.append({d.name for d in detections})
            known = {id(o): c for o, c in zip(detector.now.objects, detector.now.colours, strict=True)}
            return [known[id(d)] for d in detections]

    judged = agreement.judge(truths, detector, PerfectColours(), lambda done, total: None)
    assert all(len(names) == 1 for names in shown)
    assert [j.colours for j in judged] == [list(t.colours) for t in truths]
    assert len(by_picture) == len(truths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["make", "--out", "x", "--count", "0"], "--count 0: 1 or more"),
        (["make", "--out", "x", "--broken", "2"], "--broken 2.0: a share, 0 to 1"),
        (["agreement", "nowhere"], "nowhere has no scenes; make some with"),
        (["train-detector", "--set", "setps=1"], "did you mean 'steps'?"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        commands.main(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_every_caption_of_every_task_can_be_drawn() -> None:
    for task, seed in itertools.product(TASKS, range(30)):
        caption = metadata(task, np.random.default_rng(seed))
        assert caption["tag"] == task
        names = [clause["class"] for clause in caption["include"]]
        assert len(set(names)) == len(names)
        assert set(names) <= set(VOCABULARY)
