"""The recipe as a typed model: what a campaign is made of, checked key by key.

A node names a class or function under `use:`; its other keys are the arguments, checked against the signature by
`medal.build`. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from medal.messages import UNKNOWN_KEY

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
"""Names that become folder names."""
DEFAULT_REDUCER = "medal.reducers.LabelMean"
MINUTES = {"image": 1.0, "finding": 0.2}
"""Expert minutes for one unit of a kind before anything was measured."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, and says which keys it knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    context = {"key": str(key), "known": list(cls.model_fields)}
                    raise PydanticCustomError(UNKNOWN_KEY, "unknown key {key}", context)
        return data


class Node(BaseModel):
    """A class or function by import path, with its arguments as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str


class Parts(Strict):
    """Named slots of what works add to a learner; an empty slot is left to the learner."""

    members: Node | None = None
    head: Node | None = None
    auxiliary: Node | None = None
    consistency: Node | None = None
    pseudo: Node | None = None
    domain: Node | None = None
    generative: Node | None = None
    calibration: Node | None = None

    @model_serializer(mode="wrap")
    def _filled(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {slot: part for slot, part in handler(self).items() if part is not None}


class LearnerNode(Node):
    """The learner and its parts."""

    parts: Parts = Parts()

    @model_serializer(mode="wrap")
    def _without_empty_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key != "parts" or value}


class StepNodes(Strict):
    """One step of the strategy.

    Without a key `reducer`, a step with a score takes the mean over labels.
    """

    score: Node | None = None
    reducer: Node | None = None
    sampler: Node
    keep: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _default_reducer(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "reducer" not in data and data.get("score") is not None:
            return {**data, "reducer": {"use": DEFAULT_REDUCER}}
        return data


class SplitShares(Strict):
    """Shares of patients for the test and the validation arm.

    `by: source` keeps the data set's own split where it brings one; else, and with `by: hash`, a hash of the patient
    decides.
    """

    test: float = Field(default=0.2, ge=0, lt=1)
    validation: float = Field(default=0.2, ge=0, lt=1)
    by: Literal["source", "hash"] = "source"

    @model_validator(mode="after")
    def _leaves_a_pool(self) -> SplitShares:
        if self.test + self.validation >= 1:
            raise ValueError(
                f"found test {self.test} + validation {self.validation}, expected a sum below 1; leave a pool"
            )
        return self


class Count(Strict):
    """Rows that are drawn at random and paid for."""

    items: int = Field(ge=0)


class StartSet(Count):
    """Rows that the first training has."""

    items: int = Field(ge=1)


class RoundBudget(Strict):
    """What each round may cost, and how many rounds there are."""

    per_round: float = Field(gt=0)
    rounds: int = Field(ge=0)
    unit: Literal["items", "minutes"] = "items"

    @model_validator(mode="after")
    def _whole_items(self) -> RoundBudget:
        if self.unit == "items" and not self.per_round.is_integer():
            raise ValueError(
                f"found {self.per_round} items per round, expected a whole number; or set budget.unit=minutes"
            )
        return self


class Readers(Strict):
    """Which labels train when readers differ, see `medal.consensus.Consensus`."""

    rule: Literal["majority", "soft", "first", "reader"] = "majority"
    reader: str | None = None

    @model_validator(mode="after")
    def _named_where_asked(self) -> Readers:
        if (self.rule == "reader") != bool(self.reader):
            found = f"found rule {self.rule!r} with reader {self.reader!r}"
            raise ValueError(f"{found}; name a reader exactly for the rule 'reader'")
        return self


class Resources(Strict):
    """Threads of one study, studies at a time, and where they run.

    `address` is that of a running Ray cluster; without one, `engine: ray` starts its own.
    """

    threads: int = Field(default=1, ge=1)
    processes: int | Literal["auto"] = "auto"
    engine: Literal["local", "ray"] = "local"
    address: str | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Resources:
        if isinstance(self.processes, int) and self.processes < 1:
            raise ValueError(f"found processes {self.processes}, expected at least 1 or auto")
        return self


class ReportSettings(Strict):
    """How the report is headed (without a title by the recipe's name), and the macro AUROC that a forecast aims at."""

    title: str = ""
    target: float | None = Field(default=None, gt=0.5, le=1)


class Recipe(Strict):
    """One campaign for each seed, and the works that are drawn beside it."""

    task: str
    arm: str = Field(default="custom", pattern=NAME)
    bound: bool = False
    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=1, ge=1)
    data: Node
    unit: str = "image"
    split: SplitShares = SplitShares()
    validation: Count = Count(items=0)
    start: StartSet
    budget: RoundBudget
    cost: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: dict(MINUTES))
    oracle: Node
    learner: LearnerNode
    strategy: tuple[StepNodes, ...] = Field(min_length=1)
    baselines: tuple[str, ...] = ("random",)
    readers: Readers = Readers()
    resources: Resources = Resources()
    report: ReportSettings = ReportSettings()

    @field_validator("cost", mode="before")
    @classmethod
    def _every_known_kind(cls, given: Any) -> Any:
        return {**MINUTES, **given} if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _steps_follow(self) -> Recipe:
        last = len(self.strategy) - 1
        for i, step in enumerate(self.strategy):
            if (step.keep is None) != (i == last):
                found = "no 'keep'" if step.keep is None else f"keep {step.keep}"
                raise ValueError(f"strategy.{i}: found {found}, expected 'keep' on every step but the last")
        return self


class Work(Strict):
    """What a file of `configs/works` may say.

    `work` holds the names of the surveyed works; none for a baseline that the survey does not name.
    """

    work: tuple[str, ...]
    bound: bool = False
    strategy: list[dict[str, Any]] | None = None
    learner: dict[str, Any] = Field(default_factory=dict)
    oracle: dict[str, Any] | None = None
