"""Moving averages of weights as Lightning's trainers store them beside the raw ones.

Source: CompVis/latent-diffusion `ldm/modules/ema.py`, which SEED-Voken and others use. The name of a buffer may have no
dots, so the average of `encoder.conv_in.weight` is `model_ema.encoderconv_inweight`: dots are taken out, underscores
stay.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lactok.errors import UserError, first_few, one_line
from lactok.weights.wrappers import stored

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

AVERAGES = "model_ema."
COUNTERS = ("decay", "num_updates")  # of the averaging itself
LOSS = "loss."  # the discriminator and LPIPS, which are trained or kept beside the network


def averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's averaged weights under their plain names, losses left out.

    This is what the official evaluation computes with: it loads the whole file and then runs inside `ema_scope()`.

    Args:
        tensors: of a Lightning checkpoint, or of its `state_dict`. A file without averages gives its plain weights, as
            the authors' loader for second stages has put the averages there.

    Raises:
        UserError: averages and weights do not belong together; the message names the first that do not.

    >>> averaged({"a.b_c.weight": 1, "loss.d.weight": 2, "model_ema.ab_cweight": 3, "model_ema.decay": 4})
    {'a.b_c.weight': 3}
    """
    inside = stored(tensors, ("state_dict",))
    plain = {name: tensor for name, tensor in inside.items() if not name.startswith((AVERAGES, LOSS))}
    averages = {k.removeprefix(AVERAGES): v for k, v in inside.items() if k.startswith(AVERAGES)}
    if not averages:
        logger.info("a checkpoint without averaged weights (%s*): its plain weights are taken", AVERAGES)
        return plain
    out = {name: averages[_without_dots(name)] for name in plain if _without_dots(name) in averages}
    known = {_without_dots(name) for name in plain} | set(COUNTERS)
    beside = sorted(k for k in averages if k not in known and not k.startswith(_without_dots(LOSS)))
    for said, names in (("no average of", sorted(plain.keys() - out.keys())), ("averages of nothing:", beside)):
        if names:
            shown = first_few([one_line(name, 100) for name in names], 3)
            raise UserError(f"the averaged weights ({AVERAGES}*) do not fit the weights beside them: {said} {shown}")
    if len({_without_dots(name) for name in plain}) < len(plain):
        raise UserError(f"two weights have one name without dots, so that {AVERAGES}* does not tell their averages")
    return out


def _without_dots(name: str) -> str:
    return name.replace(".", "")
