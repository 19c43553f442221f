"""Diffusers' pipelines by name: from a folder, from the hub, equal to diffusers' own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pipelines
import pytest
import torch
from hub import COMMIT, LocalHub, User

import lactok
from lactok import registry
from lactok.errors import UserError
from lactok.randomness import noise


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with a tiny pipeline of each kind."""
    folder = tmp_path_factory.mktemp("weights")
    for name in pipelines.TINY:
        pipelines.save(name, folder)
    return folder


class TestDiffusion:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", pipelines.TINY)
    def test_the_same_picture_alone_and_in_a_batch(
        self, name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tiny))
        generator = lactok.load_generator(f"{name}@steps=2,size=64")
        both = generator.generate(["a red bus", "two cats"], [7, 8])
        alone = generator.generate(["two cats"], [8])
        assert both.shape == (2, 3, 64, 64)
        torch.testing.assert_close(both[1:], alone)  # a batch may change the last bits
        torch.rand(3)
        assert torch.equal(alone, generator.generate(["two cats"], [8]))
        assert (alone - generator.generate(["two cats"], [9])).abs().mean() > 0.01
        assert (alone - generator.generate(["a red bus"], [8])).abs().max() > 0.01

    @pytest.mark.parametrize("name", pipelines.TINY)
    def test_it_is_diffusers_own_pipeline(self, name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The noise goes in as the pipeline would draw it, and the options are its arguments."""
        from diffusers import DiffusionPipeline, FluxPipeline

        monkeypatch.setenv("LACTOK_WEIGHTS", str(tiny))
        made = lactok.load_generator(f"{name}@steps=3,guidance=4,size=64").generate(["two cats"], [8])
        own = DiffusionPipeline.from_pretrained(tiny / name)
        start = noise(torch.tensor([8]), (4, 16, 16), "start")
        if name == "flux.1-dev":
            start = FluxPipeline._pack_latents(start, 1, 4, 16, 16)
        options = {"height": 64, "width": 64, "num_inference_steps": 3, "guidance_scale": 4.0}
        expected = own("two cats", latents=start, output_type="pt", **options).images
        assert torch.equal(made, expected)

    def test_half_precision(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tiny))
        generator = lactok.load_generator("flux.1-dev@steps=1,size=64", dtype=torch.bfloat16)
        assert generator.pipeline.transformer.dtype == torch.bfloat16
        assert generator.generate(["two cats"], [8]).dtype == torch.float32

    def test_settings_know_the_users_weights(self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = registry.GENERATORS.entry("sd1.5").create()
        monkeypatch.delenv("LACTOK_WEIGHTS", raising=False)
        assert made.settings()["weights"] == [made.published.repository, made.published.revision]
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tiny))
        assert "unet/diffusion_pytorch_model.safetensors" in made.settings()["weights"]

    def test_damaged_weights(self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = pipelines.save("sd1.5", tmp_path)
        file = folder / "unet" / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
        with pytest.raises(UserError, match=r"^sd1.5: .*cannot be loaded .*get them anew$"):
            lactok.load_generator("sd1.5")


LOAD = f"""
import sys
from dataclasses import replace
from baselines import diffusion
from lactok import load_generator, registry
from lactok.command import command

def main(argv):
    for repository in sys.argv[1:]:
        entry = registry.GENERATORS.entry("sd1.5")
        model = replace(diffusion.BY_NAME["sd1.5"], repository=repository, revision="{COMMIT}")
        registry.GENERATORS.registered["sd1.5"] = replace(entry, arguments={{"published": model}})
        generator = load_generator("sd1.5@steps=1,size=64")
        print(f"mean {{generator.generate(['two cats'], [8]).mean():.6f}}")
    return 0

command(main)()
"""


@pytest.mark.slow
class TestFromTheHub:
    @pytest.fixture
    def user(self, local: LocalHub, tiny: Path, tmp_path: Path) -> User:
        folder = tiny / "sd1.5"
        for repository, token in (("someone/tiny", None), ("someone/gated", "secret")):
            for path in folder.rglob("*"):
                if path.is_file():
                    local.add(f"{repository}/{path.relative_to(folder)}", path.read_bytes(), token=token)
        return User(tmp_path, local.url)

    def load(self, user: User, *repositories: str, code: int = 0, **settings: str) -> tuple[str, str]:
        return replace(user, settings=settings).run(sys.executable, "-c", LOAD, *repositories, code=code)

    def test_it_is_fetched_once(self, user: User, local: LocalHub, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(tiny))
        expected = lactok.load_generator("sd1.5@steps=1,size=64").generate(["two cats"], [8]).mean()
        assert self.load(user, "someone/gated", HF_TOKEN="secret")[0] == f"mean {expected:.6f}\n"
        assert any(a.path.endswith("unet/diffusion_pytorch_model.safetensors") for a in local.asked)
        local.asked.clear()
        assert self.load(user, "someone/gated", HF_HUB_OFFLINE="1")[0] == f"mean {expected:.6f}\n"
        assert local.asked == []

    @pytest.mark.parametrize(
        ("repository", "settings", "why"),
        [
            ("someone/gated", {}, "gated: accept its terms on the hub, then log in with `hf auth login`"),
            ("someone/absent", {}, "no such repository on the hub, or not without logging in"),
            ("someone/tiny", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
            ("someone/tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        ],
    )
    def test_what_cannot_be_had_is_one_line(
        self, user: User, repository: str, settings: dict[str, str], why: str
    ) -> None:
        out, err = self.load(user, repository, code=2, **settings)
        assert out == ""
        line = err.splitlines()[-1]
        assert line.startswith(
            "error: weights not found: sd1.5 (4.3 GB, CreativeML OpenRAIL-M); tried hub:" + repository
        )
        assert why in line
        assert f"`hf download {repository} --local-dir FOLDER/sd1.5`" in line
