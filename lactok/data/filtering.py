"""Filters: the value that a pair's score has to exceed, and every reward of lactok as a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lactok.data.registry import STAGES, find, is_stage_name
from lactok.data.stages import Filter, Pair, Score, StageSpec
from lactok.errors import WrongValue, decimal, unknown
from lactok.evaluation.config import split_names

# the steps besides filters, each of which is one of its own name
STEPS = (PICTURES, CAPTIONS, WRITTEN) = ("pictures", "captions", "shards")
# section 4.4: ImageReward > 0.9 and MPS > 12.0
PAPER = {"image_reward": 0.9, "mps": 12.0}


@dataclass(frozen=True)
class Rule:
    """A filter and the value that a pair's score has to exceed.

    Attributes:
        filter: the filter.
        least: the value.
    """

    filter: Filter
    least: float

    @property
    def name(self) -> str:
        """The filter's canonical name."""
        return self.filter.spec.name

    def __str__(self) -> str:
        return f"{self.name} > {self.least:g}"

    def passes(self, value: float) -> bool:
        """Return whether a pair of this score passes."""
        return value > self.least


def rules(text: str) -> list[Rule]:
    """Return the filters that a user names: NAME or NAME>VALUE, separated by spaces or commas; "none" for none.

    Raises:
        UserError: a filter or reward is unknown, named twice, or no value is known for it.

    >>> [str(rule) for rule in rules("image_reward mps>11")]
    ['image_reward > 0.9', 'mps > 11']
    """
    if text.strip() == "none":
        return []
    found: dict[str, Rule] = {}
    for word in split_names(text, "filters", ", or write none"):
        rule = _rule(word)
        if rule.name in found:
            raise WrongValue(f"`filters` names {rule.name} twice")
        if rule.name in STEPS:
            raise WrongValue(f"`filters` {rule.name}: a step has that name; call the filter otherwise")
        found[rule.name] = rule
    return list(found.values())


def _rule(word: str) -> Rule:
    """Return the filter of NAME or NAME>VALUE."""
    name, sign, number = word.partition(">")
    filter = _filter(name)
    least = filter.spec.least
    if sign:
        try:
            least = decimal(number)
        except ValueError:
            raise WrongValue(f"`filters` {word[:60]}: write NAME>VALUE, as in image_reward>0.9") from None
    if least is None:
        raise WrongValue(f"`filters` {name}: say above which score a pair is kept, as in {name}>0.5")
    return Rule(filter, least)


def _filter(name: str) -> Filter:
    """Return the filter of a name: a stage, or else a reward of lactok."""
    from lactok.metrics import rewards

    if is_stage_name(name):
        return find(Filter, name)  # type: ignore[type-abstract]
    if name not in rewards.REWARDS.offered():
        raise unknown("filter", name, [*STAGES.of_kind(Filter), *rewards.REWARDS.offered()])
    return RewardFilter(name)


class RewardFilter(Filter):
    """A reward of `lactok.metrics.rewards` as a filter; it computes in float32.

    Args:
        name: of the reward.
    """

    def __init__(self, name: str):
        from lactok.metrics import rewards

        spec = rewards.find(name).spec
        super().__init__(
            StageSpec(spec.name, spec.license, assets=spec.assets, least=PAPER.get(name), version=spec.version)
        )

    def load(self, device: str, dtype: str) -> None:
        from lactok.metrics import rewards

        self.reward = rewards.find(self.spec.name)(device)

    def scores(self, pairs: Sequence[Pair]) -> list[Score]:
        found = self.reward.score([pair.image for pair in pairs], [pair.caption for pair in pairs])
        return [Score(value) for value in found.tolist()]
