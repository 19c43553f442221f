"""lactok: discrete image tokenizers behind one interface, and the reference implementation of LaCTok.

tok = lactok.load("llamagen-vq16-tiny")
ids = tok.encode(images)      # (B, 3, 256, 256) float32 in [0, 1] -> (B, 256) int64
out = tok.decode(ids)         # -> (B, 3, 256, 256) float32 in [0, 1]
tok.reconstruct_image("cat.jpg").show()

result = lactok.evaluate("llamagen-vq16-tiny")     # as `python -m benchmarks.recon`, from Python
result["psnr"].value, result["psnr"].ci95, result.records

gen = lactok.load_generator("sdxl", device="cuda")
images = gen.generate(["a red bus"], seeds=[7])    # -> (B, 3, 1024, 1024) float32 in [0, 1]
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from lactok.errors import DiskError, MissingFile, UnknownName, UserError, WeightsNotFound, WrongValue
from lactok.extras import MissingPackage, extras_named
from lactok.registry import (
    build,
    list_generators,
    list_tokenizers,
    load,
    load_generator,
    register,
    register_generator,
    spec,
)
from lactok.specs import Asset, GeneratorSpec, Hub, Option, Packaged, PackageIndex, TokenizerSpec, Url

if TYPE_CHECKING:
    from lactok.evaluation.compare import Comparison, compare
    from lactok.evaluation.evaluate import evaluate
    from lactok.evaluation.results import Result, Results, load_results
    from lactok.metrics.registry import metric
    from lactok.tokenizer import Generator, Reconstructor, Tokenizer

__version__ = "0.2.0"
__all__ = [
    "Asset",
    "Comparison",
    "DiskError",
    "Generator",
    "GeneratorSpec",
    "Hub",
    "MissingFile",
    "MissingPackage",
    "Option",
    "PackageIndex",
    "Packaged",
    "Reconstructor",
    "Result",
    "Results",
    "Tokenizer",
    "TokenizerSpec",
    "UnknownName",
    "Url",
    "UserError",
    "WeightsNotFound",
    "WrongValue",
    "build",
    "compare",
    "evaluate",
    "list_generators",
    "list_tokenizers",
    "load",
    "load_generator",
    "load_results",
    "metric",
    "register",
    "register_generator",
    "spec",
]

# imported on first use, because they import torch, pandas or scipy
_LATER = {
    "Comparison": "lactok.evaluation.compare",
    "Generator": "lactok.tokenizer",
    "Reconstructor": "lactok.tokenizer",
    "Result": "lactok.evaluation.results",
    "Results": "lactok.evaluation.results",
    "Tokenizer": "lactok.tokenizer",
    "compare": "lactok.evaluation.compare",
    "evaluate": "lactok.evaluation.evaluate",
    "load_results": "lactok.evaluation.results",
    "metric": "lactok.metrics.registry",
}
# names of version 0.1, for one version more
_FORMER = {
    "GeneratorInfo": "GeneratorSpec",
    "Registry": "PackageIndex",
    "TokenizerInfo": "TokenizerSpec",
    "generator_info": "spec",
    "generators": "list_generators",
    "info": "spec",
    "names": "list_tokenizers",
}


def __getattr__(name: str) -> Any:
    """Return a name of `_LATER` or, with a DeprecationWarning, of `_FORMER`; raise AttributeError for any other."""
    if name in _LATER:
        with extras_named(what=f"lactok.{name}"):
            return getattr(importlib.import_module(_LATER[name]), name)
    if name in _FORMER:
        warnings.warn(f"lactok.{name} is lactok.{_FORMER[name]} now", DeprecationWarning, stacklevel=2)
        return globals()[_FORMER[name]]
    raise AttributeError(f"module 'lactok' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, those that are imported later among them."""
    return __all__
