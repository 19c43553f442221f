"""What goes into a tokenizer, a metric or a reward: images in their range, or one line that says what is wrong."""

from __future__ import annotations

import pytest
import torch
from conftest import Toy
from PIL import Image
from torch import Tensor

import lactok
from lactok.errors import WrongValue
from lactok.metrics.rewards import Reward, RewardSpec
from lactok.metrics.scorer import Scorer
from lactok.tokenizer import SLACK, Reconstructor


@pytest.fixture(scope="module", params=["toy", "identity", "resize-8", "jpeg", "llamagen-vq16-tiny"])
def tokenizer(request: pytest.FixtureRequest) -> Reconstructor:
    return lactok.load(request.param)


def image(tokenizer: Reconstructor) -> Tensor:
    side = tokenizer.spec.input_size or 32
    return torch.linspace(0, 1, 3 * side * side).reshape(1, 3, side, side)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, "takes float32 images in [0, 1], these reach from 0 to 255"),
        (lambda x: x * 2 - 1, "these reach from -1 to 1"),
        (lambda x: x + 2 * SLACK, "these reach from 0.002 to 1.002"),
        (lambda x: x.where(x < 1, float("nan")), "these are not finite, from nan to nan"),
        (lambda x: x / 0.0, "these are not finite, from nan to nan"),
        (lambda x: (x + 1) / 0.0, "these are not finite, from inf to inf"),
        (lambda x: (x * 255).to(torch.uint8), "takes float32 images in [0, 1], not torch.uint8"),
        (lambda x: x.double(), "not torch.float64"),
    ],
)
def test_images_out_of_range_are_refused(tokenizer: Reconstructor, change, message: str) -> None:
    wrong = change(image(tokenizer))
    with pytest.raises(ValueError, match="takes float32 images") as stop:
        tokenizer.reconstruct(wrong)
    assert message in str(stop.value)


def test_rounding_may_leave_the_range(tokenizer: Reconstructor) -> None:
    out, _ = tokenizer.reconstruct(image(tokenizer) * (1 + SLACK / 2))
    assert 0 <= float(out.min()) <= float(out.max()) <= 1 + SLACK


def test_encode_refuses_what_reconstruct_refuses() -> None:
    with pytest.raises(ValueError, match=r"takes float32 images in \[0, 1\], these reach from 0 to 255"):
        lactok.load("toy").encode(torch.linspace(0, 255, 3 * 32 * 32).reshape(1, 3, 32, 32))


def test_no_images_are_no_mistake() -> None:
    side = Toy.spec.input_size if hasattr(Toy, "spec") else 32
    assert lactok.load("toy").encode(torch.zeros(0, 3, side, side)).shape[0] == 0


@pytest.mark.parametrize(
    "images", [torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(3, 32, 32).byte()]
)
def test_metrics_take_bytes(images: Tensor) -> None:
    right = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for references, outputs in ((images, right), (right, images)):
        with pytest.raises(WrongValue, match=r"images \(N, 3, H, W\) uint8, 0 to 255"):
            Scorer(("psnr",)).compare(references, outputs)
    with pytest.raises(WrongValue, match="as many of the same size"):
        Scorer(("psnr",)).compare(right, right[:1])
    with pytest.raises(WrongValue, match="uint8"):
        Scorer(("rfid",)).describe(images)


@pytest.mark.parametrize("picture", [torch.rand(3, 8, 8), Image.new("F", (8, 8)), Image.new("RGBA", (8, 8))])
def test_rewards_take_pictures_in_rgb(picture: object) -> None:
    class Bright(Reward):
        spec = RewardSpec("bright", "MIT")

        def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
            return torch.ones(len(images))

    assert Bright().score([Image.new("RGB", (8, 8))], ["a caption"]).tolist() == [1]
    with pytest.raises(ValueError, match="bright takes PIL images in RGB, not"):
        Bright().score([picture], ["a caption"])  # type: ignore[list-item]
