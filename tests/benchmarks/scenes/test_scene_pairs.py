"""Scenes as stages of data construction: captions are read and true, and nothing of the evaluation is in the pairs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.geneval.prompts import TASKS
from benchmarks.scenes import EVALUATED, pairs, reading, truth
from benchmarks.scenes import __main__ as scenes_command
from benchmarks.scenes.backgrounds import PAPER
from benchmarks.scenes.compose import AXES, SIDE, STEP, Plan, Wanted, compose
from benchmarks.scenes.folder import caption_of, scene_of
from benchmarks.scenes.stages import SceneCaptioner, SceneComposer, SceneJudge, ScenePrompts
from lactok.data import Made, Pair
from lactok.data import __main__ as command
from lactok.errors import WrongValue

SCENES = ("--prompts", "scenes-prompts", "--generator", "scenes-composer", "--filters", "scenes-tiny")


def made(count: int, broken: float = 0.5) -> list[tuple[str, Made]]:
    """Prompts and scenes, some of which break their prompt."""
    prompts, composer = ScenePrompts(ScenePrompts.spec.with_options("")), SceneComposer.spec
    texts = prompts.prompts(range(count), 3)
    scenes = SceneComposer(composer.with_options(f"broken={broken}")).make(texts, range(count))
    return list(zip(texts, scenes, strict=True))


def pair(number: int, prompt: str, scene: Made, caption: str = "") -> Pair:
    return Pair(str(number), prompt, caption or prompt, scene.image, number, scene.facts)


def test_every_caption_of_a_task_is_read() -> None:
    for number in range(1200):
        caption = caption_of(5, number)
        assert reading.read(caption["prompt"]) == caption


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a dog",
        "an cup",
        "one cup",
        "five cups",
        "two cup",
        "a cup and a cup",
        "two cups left of a kite",
        "a cup left of",
        "a cup and",
        "a red and a cup",
        "a photo of a cup",
        "A cup",
    ],
)
def test_other_captions_are_not(caption: str) -> None:
    assert reading.read(f"a photo of {caption}") is None


def test_a_phrase_alone_is_no_caption() -> None:
    assert reading.read("a cup") is None


def test_what_a_caption_says_whatever_its_order() -> None:
    alike = [
        ("a photo of a cup and a red kite", "a photo of a red kite and a cup"),
        ("a photo of a cup above a kite", "a photo of a kite below a cup"),
    ]
    for first, second in alike:
        assert reading.content(first) == reading.content(second) is not None
    different = ["a photo of a cup", "a photo of a red cup", "a photo of two cups", "a photo of a cup above a kite"]
    different += ["a photo of a cup below a kite", "a photo of a cup and a kite"]
    assert len({reading.content(caption) for caption in different}) == len(different)


def test_true_captions_are_true() -> None:
    """By GenEval's verdict on what the composer says; and a broken scene breaks its prompt."""
    broken = 0
    for prompt, scene in made(120):
        asked = reading.read(prompt)
        assert asked is not None
        broken += not truth.holds(asked, scene.facts)
        captions = [*truth.true_captions(scene.facts), truth.full_caption(scene.facts)]
        for caption in captions:
            said = reading.read(caption) if caption else None
            assert said is None or truth.holds(said, scene.facts), caption
            assert len(caption.split()) <= 20
    assert 40 <= broken <= 80


@pytest.mark.parametrize("style", ["asked", "full"])
def test_the_captioner_makes_captions_true(style: str) -> None:
    captioner, kept = SceneCaptioner(SceneCaptioner.spec.with_options(f"style={style}")), 0
    scenes = made(120)
    captions = captioner.captions([pair(i, prompt, scene) for i, (prompt, scene) in enumerate(scenes)])
    for (prompt, scene), caption in zip(scenes, captions, strict=True):
        said, asked = reading.read(caption), reading.read(prompt)
        assert asked is not None
        if style == "asked" and truth.holds(asked, scene.facts):
            assert caption == prompt
        if caption:
            assert said is not None
            assert truth.holds(said, scene.facts)
            kept += 1
    assert kept >= 110


def test_the_captioner_refuses_other_pictures() -> None:
    strange = Made(Image.new("RGB", (8, 8)), {})
    with pytest.raises(WrongValue, match="scenes-truth reads the truth of scenes-composer, and 0 is another picture"):
        SceneCaptioner(SceneCaptioner.spec.with_options("")).captions([pair(0, "a photo of a cup", strange)])


def test_no_caption_of_the_evaluation_is_in_the_pairs() -> None:
    """Neither as a prompt nor as a caption that was written anew, in whichever order it names its objects."""
    evaluated = {reading.content(caption_of(0, number)["prompt"]) for number in range(EVALUATED)}
    assert evaluated == set(reading.evaluated())
    source = ScenePrompts(ScenePrompts.spec.with_options(""))
    prompts = [text for seed in (0, 1) for text in source.prompts(range(3000), seed)]
    assert not evaluated & {reading.content(text) for text in prompts}
    tags = [(reading.read(text) or {})["tag"] for text in prompts]
    assert tags[:3000] == [TASKS[number % 6] for number in range(3000)]
    scenes = made(240)
    for style in ("asked", "full"):
        captioner = SceneCaptioner(SceneCaptioner.spec.with_options(f"style={style}"))
        captions = captioner.captions([pair(i, prompt, scene) for i, (prompt, scene) in enumerate(scenes)])
        assert not evaluated & {reading.content(caption) for caption in captions if caption}


def test_the_held_out_prompts_are_those_of_the_evaluation() -> None:
    source = ScenePrompts(ScenePrompts.spec.with_options("split=held-out"))
    found = source.prompts(range(600), 0)
    assert {reading.content(text) for text in found} <= set(reading.evaluated())
    assert len(set(found)) > 60


def test_no_scene_of_the_evaluation_is_in_the_pairs() -> None:
    """Even of the same caption: the seeds are others."""
    composer = SceneComposer(SceneComposer.spec.with_options("broken=0"))
    for number in range(12):
        caption = caption_of(0, number)
        scene, _ = scene_of(caption, 0, number, 0, 0.0)
        images = composer.make([caption["prompt"]] * 3, [0, number + 1, 100])
        digests = {hashlib.sha256(np.asarray(one.image).tobytes()).hexdigest() for one in images}
        assert len(digests) == 3
        assert hashlib.sha256(scene.image.tobytes()).hexdigest() not in digests


def test_prompts_of_a_users_are_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("a photo of a cup\na red bus\n")
    words = ["--prompts", str(tmp_path / "prompts.txt"), *SCENES[2:], "--captioner", "raw"]
    with pytest.raises(SystemExit) as stop:
        command.main(["--out", str(tmp_path / "out"), *words])
    assert stop.value.code == 2
    assert "prompt 2, 'a red bus': scenes are composed of captions as" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_judge_says_why() -> None:
    judge = SceneJudge(SceneJudge.spec)
    judge.load("cpu", "float32")
    (prompt, scene), *_ = [one for one in made(6, 0.0) if "two" not in one[0]]
    captions = (prompt, "a photo of a red umbrella", "a bus")
    right, wrong, unread = judge.scores([pair(0, prompt, scene, caption) for caption in captions])
    assert (right.value, right.why) == (1.0, "")
    assert (wrong.value, unread.value) == (0.0, 0.0)
    assert "umbrella" in wrong.why
    assert unread.why.startswith("no caption about a scene")


@pytest.mark.slow
def test_the_filter_raises_the_share_of_true_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path / "out"), *SCENES, "--captioner", "raw", "--count", "48", "--threads", "1"]
    with pytest.raises(SystemExit) as stop:
        command.main(words)
    assert not stop.value.code
    found = pairs.summarize(tmp_path / "out")["overall"]
    assert found["before"] == 48
    assert found["true_before"] <= 40
    assert found["true_after"] / found["after"] > found["true_before"] / 48 + 0.1
    assert found["true_after"] >= 0.9 * found["true_before"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        scenes_command.main(["pairs", str(tmp_path / "out")])
    assert not stop.value.code
    assert "| overall " in capsys.readouterr().out
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert (counts["pairs"], counts["kept"]) == (48, found["after"])


def test_a_folder_without_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        scenes_command.main(["pairs", str(tmp_path)])
    assert stop.value.code == 2
    assert "has no pairs; make some by `python -m lactok.data`" in capsys.readouterr().err


def test_plain_scenes_show_what_their_caption_names_and_nothing_else() -> None:
    spec = SceneComposer.spec.with_options("look=plain,broken=0")
    texts = ["a photo of a red cup", "a photo of a cup left of a kite", "a photo of three cups"] * 4
    for text, made in zip(texts, SceneComposer(spec).make(texts, range(12)), strict=True):
        asked = reading.read(text)
        assert asked is not None
        assert truth.holds(asked, made.facts)
        assert len(made.facts["objects"]) == sum(clause["count"] for clause in asked["include"])
        assert len({(o["class"], o["color"]) for o in made.facts["objects"]}) == len(asked["include"])
        sides = [max(right - left, low - high) for left, high, right, low in (o["box"] for o in made.facts["objects"])]
        assert min(sides) >= SIDE * 0.85  # of four objects; a hidden part is not counted


@pytest.mark.parametrize("relation", [None, *AXES])
def test_plain_scenes_stand_at_fixed_places_before_grey_paper(relation: str | None) -> None:
    plan = Plan((Wanted("cup", "red"), Wanted("clock", "white")), relation)
    scenes = [compose(plan, seed, plain=True) for seed in range(6)]
    for scene in scenes:
        assert {tuple(colour) for colour in scene.bare.reshape(-1, 3).tolist()} == {PAPER}
        (left, top, *_), (other_left, other_top, *_) = scene.box(0), scene.box(1)
        assert not any(place % STEP for place in (left, top, other_left, other_top))
        across, down = AXES[relation or "right of"]
        assert across * (other_left - left) + down * (other_top - top) > 0
    assert len({scene.box(0) for scene in scenes}) == 1
    more = compose(Plan((*plan.objects, Wanted("kite", "blue")), relation), 0, plain=True)  # a third one has room, too
    assert len(more.objects) == 3


def test_plain_scenes_that_break_their_caption_replace_what_is_missing() -> None:
    spec = SceneComposer.spec.with_options("look=plain,broken=1")
    shown = [made.facts["objects"] for made in SceneComposer(spec).make(["a photo of a cup"] * 8, range(8))]
    assert all(len(objects) == 1 and objects[0]["class"] != "cup" for objects in shown)


@pytest.mark.parametrize(("objects", "tasks"), [("any", set(TASKS)), ("one", {"single_object", "colors"})])
def test_prompts_of_one_object_alone(objects: str, tasks: set[str]) -> None:
    prompts = ScenePrompts(ScenePrompts.spec.with_options(f"objects={objects}")).prompts(range(60), 0)
    assert {(reading.read(prompt) or {})["tag"] for prompt in prompts} == tasks
