"""What the ids of a data set say of a tokenizer: coded bits, use of the codebook by position, images that share ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lactok.errors import UserError
from lactok.evaluation.code_length import VERSION, adaptive_bits, order0_bits
from lactok.evaluation.protocol import digest
from lactok.evaluation.statistics import codebook_statistics
from lactok.evaluation.store import Store

MOST_IDS = 4_000_000  # that the adaptive model codes, so that its memory and time do not grow with the data set
FEW = 3  # groups of images with the same ids that are named, and names in each of them


def id_statistics(
    ids: np.ndarray, samples: Sequence[str], size: int, store: Store | None = None, levels: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the part `ids` of a result; `lactok.evaluation.schema_parts.IdsPart` says what its values are.

    Args:
        ids: (n, L), the ids of n images, one at least.
        samples: the names of the images.
        size: the number of codes of the codebook.
        store: keeps the length of the adaptive code, which takes longest, for the next time.
        levels: the number of ids of each level or group; empty where they are of one kind.
    """
    codes, counts = np.unique(ids, return_counts=True)
    size = max(size, int(codes[-1]) + 1)
    length, images = _adaptive(ids, size, store)
    distinct, entropy = by_position(ids)
    return {
        "order0_bits": order0_bits(counts, size) / len(ids),
        "adaptive_bits": length,
        "adaptive_images": images,
        "distinct_by_position": _spread(distinct),
        "entropy_by_position": _spread(entropy),
        **shared_ids(ids, samples),
        **({"levels": by_level(ids, levels)} if levels else {}),
    }


def by_level(ids: np.ndarray, levels: Sequence[int]) -> list[dict[str, Any]]:
    """Return how each level or group uses the codebook; `schema_parts.LevelPart` says what the values are.

    Args:
        ids: (n, L), the ids of n images.
        levels: how many ids each level has; their sum is L.

    >>> [part["used"] for part in by_level(np.array([[0, 3, 3], [0, 4, 5]]), (1, 2))]
    [1, 3]
    """
    found = []
    for part in np.split(ids, np.cumsum(levels)[:-1], axis=1):
        _, counts = np.unique(part, return_counts=True)
        statistics = codebook_statistics(counts)
        found.append({"tokens": part.shape[1], **{key: statistics[key] for key in ("used", "entropy_bits")}})
    return found


def _adaptive(ids: np.ndarray, size: int, store: Store | None) -> tuple[float, int]:
    """Return the bits for each image of the adaptive code, and of how many images, evenly spaced, they are the mean."""
    n, length = ids.shape
    images = n if ids.size <= MOST_IDS else max(1, MOST_IDS // length)
    chosen = np.ascontiguousarray(ids[np.arange(images) * n // images], np.int64)
    key = digest(["ids", VERSION, size, list(chosen.shape), _content(chosen)])
    known = store.get("coded", key, check=_check_bits) if store is not None else None
    if known is not None:
        return float(known["bits"]), images
    bits = float(adaptive_bits(chosen, size).sum()) / images
    if store is not None:
        store.put("coded", key, {"bits": np.array(bits)})
    return bits, images


def _content(ids: np.ndarray) -> str:
    """Return the hash of ids."""
    from hashlib import sha256

    return sha256(ids.astype("<i8").data).hexdigest()


def _check_bits(arrays: dict[str, np.ndarray], _names: object) -> None:
    """Raise an error unless a stored length is one number."""
    if arrays["bits"].shape or arrays["bits"].dtype.kind != "f" or not np.isfinite(arrays["bits"]):
        raise ValueError("no number")


def by_position(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many different codes occur at each position, and the entropy of their frequencies in bits.

    Args:
        ids: (n, L), the ids of n images.

    Returns:
        Two arrays (L,). Neither can exceed what n images can show: n different codes, log2(n) bits.

    >>> [values.tolist() for values in by_position(np.array([[0, 3], [1, 3]]))]
    [[2, 1], [1.0, 0.0]]
    """
    distinct, entropy = np.zeros(ids.shape[1], np.int64), np.zeros(ids.shape[1])
    for position in range(ids.shape[1]):
        _, counts = np.unique(ids[:, position], return_counts=True)
        p = counts / max(counts.sum(), 1)
        distinct[position], entropy[position] = len(counts), -(p * np.log2(p)).sum() + 0.0
    return distinct, entropy


def _spread(values: np.ndarray) -> dict[str, float]:
    """Return the mean, the least and the most of values."""
    return {"mean": float(values.mean()), "least": float(values.min()), "most": float(values.max())}


def shared_ids(ids: np.ndarray, samples: Sequence[str]) -> dict[str, Any]:
    """Return how many images have all their ids in common with another image.

    Args:
        ids: (n, L), the ids of n images.
        samples: the names of the images.

    Returns:
        shared: the number of such images; shared_groups: the number of different sequences of ids that they have;
        shared_examples: the names of a few, those of one group together, the largest groups first.

    >>> shared_ids(np.array([[1, 2], [3, 4], [1, 2]]), ["a", "b", "c"])
    {'shared': 2, 'shared_groups': 1, 'shared_examples': [['a', 'c']]}
    """
    _, group, counts = np.unique(ids, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    largest = [int(g) for g in np.argsort(-counts, kind="stable")[:FEW] if counts[g] > 1]
    examples = [[samples[i] for i in np.flatnonzero(group == g)[:FEW]] for g in largest]
    return {
        "shared": int(counts[counts > 1].sum()),
        "shared_groups": int((counts > 1).sum()),
        "shared_examples": examples,
    }


def stored_ids(folder: Path) -> tuple[np.ndarray, list[str]] | None:
    """Return the ids (n, L) and the names of n images of a result's `tokens.npz`; None where there is no such file.

    Args:
        folder: the result's folder.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / "tokens.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            ids, samples = stored["ids"], stored["samples"]
        if ids.ndim != 2 or ids.dtype.kind not in "iu" or len(samples) != len(ids):
            raise ValueError("it holds something else")
    except Exception as error:  # a file with any content may be met, and reading that has no common error
        raise UserError(f"{folder.name}/tokens.npz is damaged; run the command that made it again") from error
    return ids, [str(name) for name in samples]
