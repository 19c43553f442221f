"""Metrics as plug-ins: of a package, of torchmetrics, broken ones beside others, and the page that tells how."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from conftest import photograph, plugged
from documents import code_of
from environments import ROOT, installed, python
from PIL import Image
from torch import Tensor

import lactok
from benchmarks.recon import __main__ as recon
from lactok.errors import UnknownName, UserError, WrongValue
from lactok.evaluation.results import ReconResult
from lactok.metrics import choice, registry
from lactok.metrics.of_torchmetrics import by_name
from lactok.metrics.scorer import Scorer
from lactok.specs import Asset

PAGE = ROOT / "docs" / "adding-a-metric.md"
GROUP = "lactok.metrics"
UQI = "torchmetrics:UniversalImageQualityIndex"


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, EntryPoint]]:
    """Entry points of metrics that only this test has."""
    registry.known()
    with plugged(monkeypatch, tmp_path, registry.METRICS) as points:
        yield points


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder of two photographs."""
    folder = tmp_path / "two"
    folder.mkdir()
    for i in range(2):
        photograph(i).save(folder / f"{i}.png")
    return folder


def measured(data: Path, out: Path, metrics: str, **settings: Any) -> ReconResult:
    """Of `resize-8`, which worker processes know too."""
    return lactok.evaluate("resize-8", dataset=str(data), resolution=64, metrics=metrics, out=out, **settings)


def kept(result: ReconResult) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photographs and reconstructions (H, W, 3) uint8 that a result keeps, in the order of its index."""
    index = json.loads((result.folder / "images" / "index.json").read_text())
    references = result.folder.parent / "references" / index["references"]
    folders = (references, result.folder / "images")
    return [
        tuple(np.asarray(Image.open(folder / p["file"])) for folder in folders)  # type: ignore[misc]
        for p in index["pictures"]
    ]


def pairs(count: int, size: int = 48) -> tuple[Tensor, Tensor]:
    """uint8 photographs (N, 3, S, S) and the same with noise."""
    arrays = [np.asarray(photograph(i, size, size)) for i in range(count)]
    references = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    noise = torch.randint(-20, 20, references.shape, generator=torch.Generator().manual_seed(0))
    return references, (references + noise).clamp(0, 255).to(torch.uint8)


LEVELS = """
import lactok
@lactok.metric("levels", title="grey levels", higher=False, digits=1)
def levels(references, outputs, device="cpu"):
    return (references.double() - outputs.double()).abs().mean((1, 2, 3))
"""


class TestPlugIn:
    def test_end_to_end(self, plug: dict[str, EntryPoint], two: Path, tmp_path: Path) -> None:
        (tmp_path / "plug_levels.py").write_text(LEVELS)
        plug["levels"] = EntryPoint("levels", "plug_levels:levels", GROUP)
        result = measured(two, tmp_path / "out", "psnr,levels", pictures="all")
        found = [np.abs(a.astype(float) - b).mean() for a, b in kept(result)]
        assert result.records["levels"].tolist() == pytest.approx(found, rel=1e-12)
        entry = json.loads((result.folder / "result.json").read_text())["metrics"]["levels"]
        assert entry["value"] == pytest.approx(np.mean(found))
        assert (entry["n"], entry["title"], entry["higher_is_better"]) == (2, "grey levels", False)
        assert "grey levels ↓" in lactok.load_results(tmp_path / "out").table()

    def test_without_its_package_a_result_says_what_it_is(self, plug, two: Path, tmp_path: Path) -> None:
        (tmp_path / "plug_levels.py").write_text(LEVELS)
        plug["levels"] = EntryPoint("levels", "plug_levels:levels", GROUP)
        result = measured(two, tmp_path / "out", "levels")
        del plug["levels"], registry.METRICS.registered["levels"]
        with pytest.raises(UnknownName, match="unknown metric 'levels'"):
            registry.find("levels")
        shown = registry.described("levels", result["levels"].model_dump())
        assert shown.head == "grey levels ↓"

    def test_its_version_is_part_of_the_key(self, plug, two: Path, tmp_path: Path) -> None:
        declared = {"title": "x", "higher": True}
        hashes = set()
        for more in ({}, {"version": 2}, {"libraries": ("numpy",)}):
            registry.METRICS.registered.pop("levels", None)
            registry.metric("levels", **declared, **more)(lambda a, b, c: a.double().mean((1, 2, 3)))
            hashes.add(measured(two, tmp_path / "out", "levels").data.protocol.score)
        assert len(hashes) == 3

    def test_a_broken_one_is_a_line_and_hides_no_other(self, plug, two: Path, tmp_path: Path, caplog) -> None:
        registry.say_left_out.cache_clear()
        (tmp_path / "broken_plug.py").write_text("raise OSError('no such\\nlibrary')\n")
        plug["broken"] = EntryPoint("broken", "broken_plug:X", GROUP)
        why = "plug-in 'broken' (broken_plug:X) cannot be imported: OSError: no such library"
        with pytest.raises(UserError, match=re.escape(why)):
            measured(two, tmp_path / "out", "psnr,broken")
        assert "psnr" in choice.chosen("all", ())
        assert [r.message for r in caplog.records] == [f"left out: {why}"]
        assert measured(two, tmp_path / "out", "psnr")["psnr"].n == 2

    def test_it_changes_no_protocol(self, plug: dict[str, EntryPoint], tmp_path: Path) -> None:
        before = registry.default_keys()
        (tmp_path / "plug_levels.py").write_text(LEVELS.replace("digits=1", "digits=1, default=True"))
        plug["levels"] = EntryPoint("levels", "plug_levels:levels", GROUP)
        assert registry.find("levels").default
        assert registry.default_keys() == before

    def test_a_mistake_is_a_line(self, plug: dict[str, EntryPoint]) -> None:
        plug["nothing"] = EntryPoint("nothing", "json:loads", GROUP)
        with pytest.raises(UserError, match=r"does not register 'nothing'; decorate .* with @lactok.metric"):
            registry.find("nothing")
        for key in ("bits", "two words"):
            with pytest.raises(WrongValue, match=f"cannot be named '{key}'"):
                registry.metric(key, title="x", higher=True)(len)
        with pytest.raises(WrongValue, match="two metrics are named 'psnr'"):
            registry.metric("psnr", title="x", higher=True)(len)
        with pytest.raises(WrongValue, match="declares no colour"):
            registry.metric("levels", title="x", higher=True, colour="red")(len)
        registry.metric("levels", title="x", higher=True, libraries=("no-such-package",))(len)
        with pytest.raises(WrongValue, match="metric levels: its library no-such-package is not installed"):
            registry.find("levels").hashed()

    def test_a_number_a_pair_is_asked_for(self, plug: dict[str, EntryPoint]) -> None:
        registry.metric("flat", title="x", higher=True)(lambda a, b, device: torch.zeros(len(a), 2))
        with pytest.raises(WrongValue, match=r"metric flat gives \(3, 2\) for 3 pairs of images"):
            Scorer(("flat",)).compare(*pairs(3))

    def test_without_its_network_nothing_is_computed(self, plug, two: Path, tmp_path: Path) -> None:
        own = Asset("no-such-network", "MIT", note="ask its authors")
        registry.metric("judged", title="x", higher=True, networks=(own,))(len)
        with pytest.raises(
            UserError, match=r"judged: weights not found: no-such-network; .*leave it out: `metrics` psnr"
        ):
            measured(two, tmp_path / "out", "psnr,judged")


class MeanColour(torchmetrics.Metric):
    """Distance of the mean colours of two sets, with a list of values and two sums as its state."""

    higher_is_better = False
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("colours", [], dist_reduce_fx="cat")
        self.add_state("total", torch.zeros(3).double(), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, imgs: Tensor, real: bool) -> None:
        if real:
            self.colours.append(imgs.double().mean((2, 3)))
        else:
            self.total += imgs.double().mean((2, 3)).sum(0)
            self.count += len(imgs)

    def compute(self) -> Tensor:
        return (torchmetrics.utilities.dim_zero_cat(self.colours).mean(0) - self.total / self.count).norm()


class TestTorchmetrics:
    @pytest.mark.parametrize(
        ("key", "make"),
        [
            (UQI, torchmetrics.image.UniversalImageQualityIndex),
            (
                "torchmetrics:StructuralSimilarityIndexMeasure@data_range=1.0,kernel_size=7",
                lambda: torchmetrics.image.StructuralSimilarityIndexMeasure(data_range=1.0, kernel_size=7),
            ),
            ("torchmetrics:PeakSignalNoiseRatio", lambda: torchmetrics.image.PeakSignalNoiseRatio(data_range=1.0)),
        ],
    )
    def test_pairs_are_what_torchmetrics_says_of_each(self, key: str, make: Any) -> None:
        references, outputs = pairs(3)
        found = Scorer((key,)).compare(references, outputs)[key]
        assert found.dtype == np.float64
        for value, reference, output in zip(found, references, outputs, strict=True):
            assert value == make()(output[None].float() / 255, reference[None].float() / 255).double().item()

    def test_end_to_end(self, plug, two: Path, tmp_path: Path) -> None:
        result = measured(two, tmp_path / "out", f"psnr,{UQI}")
        assert list(result.metrics) == ["psnr", UQI]
        assert 0 < result[UQI].value < 1
        assert result.records[UQI].mean() == result[UQI].value
        assert "UniversalImageQualityIndex ↑" in lactok.load_results(tmp_path / "out").table()
        assert UQI not in choice.chosen("all", ())  # what was measured once is not all there is from then on

    def test_sets_over_two_shards_are_sets_in_one_go(self, plug, photographs: Path, tmp_path: Path) -> None:
        plug["colour"] = EntryPoint("colour", f"{__name__}:MeanColour", GROUP)
        references, outputs = pairs(70)
        whole = MeanColour()
        for images, real in ((references, True), (outputs, False)):
            whole.update(images.float() / 255, real=real)
        metric = registry.find("colour")
        assert isinstance(metric, registry.StateMetric)
        scorer = Scorer(("colour",))
        states = [
            {k.removeprefix("colour/"): v for k, v in scorer.compare(references[s], outputs[s]).items()}
            for s in (slice(64), slice(64, 70))
        ]
        assert states[0]["colours"].shape == (64, 3)
        assert metric.merge(states) == pytest.approx(whole.compute().item(), rel=1e-12)
        assert metric.merge(states) == metric.merge(states)
        assert metric.merge(states[:1]) != metric.merge(states)
        result = measured(photographs, tmp_path / "out", "psnr,colour")
        assert (result["colour"].n, result["colour"].ci95) == (70, None)
        assert result["colour"].value > 0

    @pytest.mark.slow
    def test_two_workers_give_the_same_bytes(self, photographs: Path, tmp_path: Path) -> None:
        results = [measured(photographs, tmp_path / str(n), f"psnr,{UQI}", workers=n).folder for n in (1, 2)]
        for name in ("result.json", "records.parquet"):
            one, two = ((folder / name).read_bytes() for folder in results)
            assert one == two

    def test_kid_with_a_network_of_ones_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A class with random subsets, with a feature network that needs no download: the same number every time."""
        from lactok.metrics.of_torchmetrics import adapted

        class Colours(torch.nn.Module):
            num_features = 3

            def forward(self, images: Tensor) -> Tensor:
                return images.float().mean((2, 3))

        options = {"feature": Colours(), "subset_size": 10, "subsets": 4}
        metric = adapted("kid-of-colours", torchmetrics.image.KernelInceptionDistance, options)
        assert isinstance(metric, registry.StateMetric)
        references, outputs = pairs(24)
        states = [metric.state(references[s], outputs[s], "cpu") for s in (slice(16), slice(16, 24))]
        whole = metric.state(references, outputs, "cpu")
        torch.manual_seed(1)
        first = metric.merge(states)
        torch.manual_seed(2)
        assert first == metric.merge(states) == metric.merge([whole])
        with pytest.raises(WrongValue, match=r"metric kid-of-colours cannot be computed: .*subset_size"):
            metric.merge([metric.state(references[:4], outputs[:4], "cpu")])

    @pytest.mark.parametrize(
        ("key", "kind", "message"),
        [
            ("UniversalImageQuality", UnknownName, "did you mean 'UniversalImageQualityIndex'?"),
            ("TotalVariation", WrongValue, "takes img; it must be of two images or of two sets of images"),
            ("InceptionScore", WrongValue, "takes imgs; it must be"),
            ("SpatialDistortionIndex", WrongValue, "takes preds, target; it must be"),
            ("UniversalImageQualityIndex@kernel=7", UnknownName, "'kernel', did you mean 'kernel_size'?"),
            ("UniversalImageQualityIndex@kernel_size", WrongValue, "write kernel_size=VALUE"),
            ("LearnedPerceptualImagePatchSimilarity@net_type=alexx", WrongValue, "cannot be made: Argument `net_type`"),
        ],
    )
    def test_a_mistake_is_one_line(self, key: str, kind: type[Exception], message: str) -> None:
        with pytest.raises(kind) as error:
            by_name(f"torchmetrics:{key}")
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_images_that_it_does_not_take_are_one_line(self) -> None:
        key = "torchmetrics:MultiScaleStructuralSimilarityIndexMeasure"
        with pytest.raises(WrongValue, match=f"metric {key} cannot compare these images: ") as error:
            Scorer((key,)).compare(*pairs(1, size=32))
        assert "\n" not in str(error.value)


EXAMPLE = """
import lactok
print(lactok.evaluate("resize-12", metrics="psnr,delta_e_76", limit=2, out="out")["delta_e_76"].value)
"""


@pytest.mark.slow
def test_the_example_is_a_metric_where_it_is_installed(tmp_path: Path) -> None:
    from skimage.color import deltaE_cie76, rgb2lab

    done = python(installed(tmp_path, ROOT / "examples" / "lactok-delta-e"), "-c", EXAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = lactok.evaluate("resize-12", metrics="psnr", limit=2, pictures="all", out=tmp_path / "own")
    values = [deltaE_cie76(*map(rgb2lab, pair)).mean() for pair in kept(result)]
    assert float(done.stdout) == pytest.approx(np.mean(values), rel=1e-6)


@pytest.mark.slow
def test_the_page_on_adding_a_metric_runs(
    plug: dict[str, EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """Files are written, scripts and commands are run, the entry points are what the page says."""
    monkeypatch.chdir(tmp_path)
    for table in map(tomllib.loads, code_of(PAGE, "toml")):
        for name, value in table["project"]["entry-points"][GROUP].items():
            plug[name] = EntryPoint(name, value, GROUP)
    code = code_of(PAGE, "python")
    files = {match[1]: block for block in code if (match := re.match(r"# (\w+\.py)\n", block))}
    assert sorted(plug) == ["edges", "grey_levels", "palette", "rms", "uqi"]
    assert len(files) == 4
    for name, block in files.items():
        Path(name).write_text(block)
    for script in (block for block in code if block not in files.values()):
        exec(compile(script, "page", "exec"), {"__name__": "__main__"})
    lines = [line for block in code_of(PAGE, "sh") for line in block.splitlines() if "benchmarks.recon" in line]
    assert len(lines) == 4
    for line in lines:
        with pytest.raises(SystemExit) as stop:
            recon.main([*shlex.split(line)[3:], "--limit", "2"])
        assert not stop.value.code
    result = lactok.evaluate("resize-12", metrics="edges,palette,rms,uqi", limit=2)
    assert list(result.metrics) == ["edges", "palette", "rms", "uqi"]
    assert result["palette"].reliable is False
    (shown,) = map(json.loads, code_of(PAGE, "json"))
    assert shown.keys() == {
        k
        for k, v in lactok.evaluate("resize-12", metrics="grey_levels", limit=2)["grey_levels"].model_dump().items()
        if v is not None
    }
