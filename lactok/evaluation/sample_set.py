"""The data set "sample": windows of the photographs that scikit-image and scikit-learn ship."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lactok.errors import UserError
from lactok.evaluation.samples import Sample
from lactok.files import is_file


def samples() -> tuple[Sample, ...]:
    """Return six windows of each colour photograph that scikit-image and scikit-learn ship.

    The windows are the largest central square, and five of 256x256 pixels in the corners and the centre. The retina
    and the Hubble field are left out, since they are no photographs of scenes.
    """
    import skimage.data
    import sklearn.datasets

    skimage_root = Path(skimage.data.__file__).parent
    sklearn_root = Path(sklearn.datasets.__file__).parent / "images"
    files = [skimage_root / f for f in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    files += [sklearn_root / f for f in ("china.jpg", "flower.jpg")]
    found = []
    for path in files:
        if not is_file(path):
            raise UserError(f"the sample photograph {path.name} is missing: reinstall scikit-image and scikit-learn")
        with Image.open(path) as image:
            width, height = image.size
        side = min(width, height)
        right, bottom, tile = width - 256, height - 256, 256
        windows = {
            "square": ((width - side) // 2, (height - side) // 2, side, side),
            "centre": (right // 2, bottom // 2, tile, tile),
            "top-left": (0, 0, tile, tile),
            "top-right": (right, 0, tile, tile),
            "bottom-left": (0, bottom, tile, tile),
            "bottom-right": (right, bottom, tile, tile),
        }
        found += [Sample(f"{path.stem}/{name}", path, None, window) for name, window in windows.items()]
    return tuple(sorted(found, key=lambda s: s.id))
