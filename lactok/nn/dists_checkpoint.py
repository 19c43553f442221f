"""Where the published weights of DISTS's channels are; its VGG16 is that of LPIPS."""

from __future__ import annotations

from lactok.specs import Asset, Packaged

DISTS_WEIGHTS = Asset(
    "dists-weights",
    license="MIT (DISTS)",
    sources=(
        Packaged(
            "torchmetrics",
            "functional/image/dists_models/weights.pt",
            "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        ),
    ),
    size=12_000,
    note="torchmetrics 1.8 and later have it; it is also DISTS/weights.pt of the authors' package dists-pytorch",
)
