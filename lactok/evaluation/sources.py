"""Where reconstructions come from: a tokenizer by name, a loaded one, exchanged ids; `folder_source` has the fourth."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok import fitting, images, registry
from lactok.errors import UserError, WrongValue
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.identity import code_of
from lactok.evaluation.names import EXCHANGED, PERTURBED
from lactok.evaluation.perturbed_ids import VERSION, perturbed
from lactok.evaluation.protocol import digest
from lactok.nn.quantize import count_near_ties
from lactok.tokenizer import Reconstructor, Tokenizer


class Source(ABC):
    """A source of reconstructions, which is a row of the table.

    It is sent to worker processes, so it must load networks only when they are needed.

    Attributes:
        name: its name in tables and folders.
    """

    name: str

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the part `tokenizer` of the result."""

    @abstractmethod
    def key(self, samples: Sequence[Sample], run: Run) -> str:
        """Return the hash of all that determines the ids of these samples, or the outputs of a source without ids."""

    @property
    def has_ids(self) -> bool:
        """Whether the source encodes images to ids."""
        return False

    @property
    def codebook_size(self) -> int:
        """The number of codes, 0 for a source without ids."""
        return 0

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of ids of each level or group, see `TokenizerSpec`; empty where they are of one kind."""
        return ()

    def check(self, sample: Sample, run: Run) -> None:  # noqa: B027, most sources have nothing to check
        """Raise UnreadableImage if this source has nothing for a sample, which is then left out.

        The reason is stored with the sample's shard, so `key` must cover all that decides it.
        """

    def release(self) -> None:  # noqa: B027, most sources hold nothing
        """Let go of a network that was loaded, so that its memory is free for others; it is loaded again if need be."""

    def encode(self, references: list[np.ndarray], samples: Sequence[Sample], run: Run) -> tuple[Tensor, Tensor]:
        """Encode prepared images.

        Args:
            references: B images of one shape, (H, W, 3) uint8.
            samples: the samples that they are of.
            run: the run.

        Returns:
            The ids (B, L) int64 and the number of near ties in each image (B,) int64.
        """
        raise NotImplementedError

    @abstractmethod
    def outputs(
        self, references: list[np.ndarray], samples: Sequence[Sample], ids: Tensor | None, run: Run
    ) -> tuple[Tensor, Tensor]:
        """Reconstruct prepared images.

        Args:
            references: B images of one shape, (H, W, 3) uint8.
            samples: the samples that they are of.
            ids: their ids (B, L), None for sources without ids.
            run: the run.

        Returns:
            The reconstructions (B, 3, H, W) uint8, and the bits that each image took (B,) float64.
        """


class TokenizerSource(Source):
    """A tokenizer by its name; it is loaded when a shard needs it.

    Args:
        name: the name, which may carry options after `@`, or FILE.py:CLASS.

    Raises:
        WeightsNotFound: no source has its weights.
        UserError: the name is unknown, or the weights are damaged.
    """

    def __init__(self, name: str):
        entry = registry.TOKENIZERS.entry(name)
        self.given_name, self.spec, self.code = name, entry.spec, entry.code
        self.name = self.spec.name
        self.assets = {k: v.record() for k, v in registry.resolve_assets(name).items()}
        self._loaded: Reconstructor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}  # each process loads its own

    def tokenizer(self, run: Run) -> Reconstructor:
        """Return the tokenizer; it is loaded at the first call."""
        if self._loaded is None:
            loaded = registry.load(self.given_name, run.device, getattr(torch, run.dtype))
            found = {k: v.sha256 for k, v in registry.resolve_assets(self.given_name).items()}
            if found != {k: asset["sha256"] for k, asset in self.assets.items()}:
                raise UserError(
                    f"the weights of {self.name} are not those that the run began with: they changed meanwhile, or "
                    "another machine has others; run again"
                )
            self._loaded = loaded
        return self._loaded

    def release(self) -> None:
        self._loaded = None

    @property
    def has_ids(self) -> bool:
        return self.spec.tokens is not None

    @property
    def codebook_size(self) -> int:
        return self.spec.codebook_size or 0

    @property
    def levels(self) -> tuple[int, ...]:
        return self.spec.levels

    def describe(self) -> dict[str, Any]:
        spec = self.spec
        described: dict[str, Any] = {
            "name": spec.name,
            "family": spec.family,
            "tokens": spec.tokens,
            "codebook_size": spec.codebook_size,
            "bits": spec.bits,
            "decode_steps": spec.decode_steps,
            "options": dict(spec.values),
            "license": spec.license,
            "note": spec.note,
            "assets": list(self.assets.values()),
        }
        if spec.levels:
            described["levels"] = list(spec.levels)
        if self.code:
            described["code"] = self.code
        if spec.kind != "discrete":
            described["kind"] = spec.kind
        return described

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        return digest(
            {
                "name": self.spec.name,
                "options": dict(self.spec.values),
                "version": self.spec.version,
                "code": self.code,
                "assets": sorted(a["sha256"] for a in self.assets.values()),
                "prepare": run.protocol.prepare_hash,
                "dtype": run.dtype,
                "seed": run.seed,
                "device": run.place(networks=bool(self.assets or self.code)),
                "pillow": version("pillow"),
                "samples": [[s.id, s.sha256] for s in samples],
            }
        )

    def _inputs(self, references: list[np.ndarray], run: Run) -> Tensor:
        """Return prepared images as the tokenizer takes them, (B, 3, input_size, input_size) float32 in [0, 1]."""
        return torch.stack([fitting.tokenizer_input(r, run.protocol.prepare, self.spec) for r in references])

    def _with_ids(self, run: Run) -> Tokenizer:
        """Return the tokenizer; raise WrongValue if it has no ids although its spec promises them."""
        found = self.tokenizer(run)
        if not isinstance(found, Tokenizer):
            raise WrongValue(f"{self.name} promises ids and is no lactok.Tokenizer; derive its class from it")
        return found

    def encode(self, references: list[np.ndarray], samples: Sequence[Sample], run: Run) -> tuple[Tensor, Tensor]:
        with count_near_ties() as counts:
            ids = self._with_ids(run).encode(self._inputs(references, run), run.seeds(samples)).cpu()
        near_ties = torch.zeros(len(ids), dtype=torch.int64)
        if counts:  # one for each quantizer that encoded
            near_ties = torch.stack([count.cpu() for count in counts]).sum(0)
        return ids, near_ties

    def outputs(
        self, references: list[np.ndarray], samples: Sequence[Sample], ids: Tensor | None, run: Run
    ) -> tuple[Tensor, Tensor]:
        if ids is None:
            out, bits = self.tokenizer(run).reconstruct(self._inputs(references, run), run.seeds(samples))
        else:
            out = self._with_ids(run).decode(ids, run.seeds(samples))
            bits = torch.full((len(ids),), self.spec.bits or 0.0, dtype=torch.float64)
        how, score = run.protocol.prepare, run.protocol.score
        height, width = references[0].shape[:2]
        made = fitting.reconstructions(
            out.cpu(),
            (height, width),
            how,
            enlarge=score.enlarge,
            rounding=score.rounding,
            multiple=self.spec.multiple,
        )
        return made, bits


class ObjectSource(TokenizerSource):
    """A tokenizer that the caller has loaded; its key covers its spec, its code and the values of its weights.

    Args:
        tokenizer: the tokenizer; its settings count too, see `lactok.evaluation.identity`.

    Raises:
        WrongValue: it was built without weights.
    """

    def __init__(self, tokenizer: Reconstructor):
        self.given_name, self.spec, self.name = tokenizer.spec.name, tokenizer.spec, tokenizer.spec.name
        if tokenizer.without_weights or any(tensor.is_meta for tensor in tokenizer.state_dict().values()):
            raise WrongValue(f"`tokenizer` {self.name}: it has no weights; take it from lactok.load")
        self.code = code_of(tokenizer)
        self.assets = {self.name: {"name": self.name, "source": "given", "sha256": _weights_digest(tokenizer)}}
        self._loaded = tokenizer

    def release(self) -> None:
        """Keep the tokenizer, which is the caller's and cannot be loaded again."""


def _weights_digest(tokenizer: Reconstructor) -> str:
    """Return the hash of the names, shapes, dtypes and values of a tokenizer's weights."""
    digested = hashlib.sha256()
    for name, tensor in sorted(tokenizer.state_dict().items()):
        digested.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.dim():
            digested.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        else:  # a scalar cannot be viewed as bytes
            digested.update(repr(tensor.item()).encode())
    return digested.hexdigest()


class ExchangedSource(TokenizerSource):
    """A tokenizer that decodes, for each sample, the ids of another image: its partner's.

    Args:
        name: the tokenizer's name.
        partners: the id of a sample -> its partner.

    Raises:
        WrongValue: the tokenizer has no ids.
    """

    def __init__(self, name: str, partners: Mapping[str, Sample]):
        super().__init__(name)
        if not self.has_ids:
            raise WrongValue(f"{name} has no ids that could be exchanged")
        self.partners = partners
        self.name += EXCHANGED

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"name": self.name, "note": "decoded from the ids of another image"}

    def check(self, sample: Sample, run: Run) -> None:
        self.partners[sample.id].open(run.protocol.prepare.upright)

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        return digest([super().key(samples, run), [self.partners[s.id].sha256 for s in samples]])

    def encode(self, references: list[np.ndarray], samples: Sequence[Sample], run: Run) -> tuple[Tensor, Tensor]:
        how = run.protocol.prepare
        others = [images.prepare(self.partners[s.id].open(how.upright), how) for s in samples]
        return super().encode(others, samples, run)


class PerturbedSource(TokenizerSource):
    """A tokenizer that decodes its ids after some of them were replaced by near codes, see `perturbed_ids.perturbed`.

    Args:
        name: the tokenizer's name.
        share, nearest: as there.

    Raises:
        WrongValue: the tokenizer has no ids.
    """

    def __init__(self, name: str, share: float, nearest: int):
        super().__init__(name)
        if not self.has_ids:
            raise WrongValue(f"{name} has no ids that could be perturbed")
        self.share, self.nearest = share, nearest
        self.name += f"{PERTURBED}@share={share:g},nearest={nearest}"

    def describe(self) -> dict[str, Any]:
        note = f"a share {self.share:g} of the ids drawn anew among the {self.nearest} nearest codes"
        return super().describe() | {"name": self.name, "note": note}

    def key(self, samples: Sequence[Sample], run: Run) -> str:
        return digest([super().key(samples, run), "perturbed", VERSION, self.share, self.nearest])

    def encode(self, references: list[np.ndarray], samples: Sequence[Sample], run: Run) -> tuple[Tensor, Tensor]:
        ids, near_ties = super().encode(references, samples, run)
        codes = self._with_ids(run).code_vectors().cpu()
        return perturbed(ids, codes, self.share, self.nearest, run.seeds(samples)), near_ties
