"""Which tokenizers `--tokenizers` asks for."""

from __future__ import annotations

from lactok.errors import WrongValue
from lactok.evaluation.config import split_names

ALL = ("all", "local")  # what `--tokenizers` may say instead of names


def tokenizer_names(asked: str | None) -> list[str]:
    """Return the names of the tokenizers that `--tokenizers` asks for.

    Raises:
        UserError: an unknown name, or a wrong option of a tokenizer that was named; or none is named.
    """
    from lactok import registry

    if asked is None:
        raise WrongValue(
            "name what is to be measured: `tokenizers` local, which needs no download and takes minutes; names, such "
            "as `tokenizers` titok-s128, whose weights are then fetched; or `images` for reconstructions that you "
            "have. `python -m benchmarks.recon --help` shows examples, `python -m lactok.weights list` the weights"
        )

    if asked in ALL:
        names = registry.list_tokenizers()
        for name in names:
            registry.TOKENIZERS.check_name(name)
        return names
    names = split_names(asked, more=", or use all")
    for name in names:
        registry.TOKENIZERS.check_name(name)
    for name in names:
        registry.tokenizer_spec(name)  # checks the options
    return names
