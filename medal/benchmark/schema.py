"""The file of a benchmark as a typed model: sets, learners with their strategies, blocks, and what is read out.

The rules behind it: Lüth et al., "Navigating the pitfalls of active learning evaluation", NeurIPS 2023 (several data
sets, same learner for every query, random never left out), and Zhan et al., "A comparative survey: benchmarking for
pool-based active learning", IJCAI 2021 (area under the budget curve). Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from medal.errors import ConfigError
from medal.messages import invalid
from medal.resources import choose, group
from medal.schema import NAME, Strict
from medal.strict_yaml import read

ALWAYS = ("random", "random_stratified")
"""Strategies that every learner of the file is given, named or not."""
RANDOM = "random"
FULL = "full_data"
"""Name of the line that trains once on the whole pool."""
SELF_SUPERVISED, SHORTCUT = "self_supervised", "shortcut"
EXTRAS = (SELF_SUPERVISED, SHORTCUT)
"""Learners that are drawn beside those of the file, each with random: they tell what querying is worth at all."""


class LearnerVariant(Strict):
    """One way to learn, and the strategies that are compared within it.

    `with` lists works that are laid on the learner, such as mean_teacher.
    """

    overrides: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_is_a_word_of_python(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "with" in data:
            return {("works" if key == "with" else key): value for key, value in data.items()}
        return data


class Readout(Strict):
    """One figure that is computed from stored test predictions and the truth.

    Args:
        labels: the measure is taken label by label, then averaged.
        measure: auroc and auprc (bigger is better), brier and ece (smaller is better).
        by: column of the test rows; one readout for each of its values.
        where: label -> value; only test rows whose truth has it count.
        min_positives: a label with fewer positives or negatives in the test rows of any block is left out and given
            as counts only.
    """

    labels: tuple[str, ...] = Field(min_length=1)
    measure: Literal["auroc", "auprc", "brier", "ece"] = "auroc"
    by: str | None = None
    where: dict[str, float] = Field(default_factory=dict)
    min_positives: int = Field(default=20, ge=1)


class Benchmark(Strict):
    """Sets x learners x strategies x blocks, and how the outcome is read.

    Args:
        title: heads the report.
        recipe: name of the recipe that everything starts from.
        overrides: laid over it for all cells.
        sets: name -> overrides, such as data=nih.
        learners: name -> learner and its strategies.
        blocks: block b is split seed b and start set b, the same for all cells of the block.
        measures: name -> readout.
        primary: the measure that is ranked; tests of the others are secondary.
        cost: axis of the curves.
        draws: bootstrap samples.
        without: self_supervised, shortcut or full_data -> the reason why it is not drawn.
    """

    title: str = Field(min_length=1)
    recipe: str
    overrides: tuple[str, ...] = ()
    sets: dict[str, tuple[str, ...]] = Field(min_length=1)
    learners: dict[str, LearnerVariant] = Field(min_length=1)
    blocks: int = Field(default=10, ge=1)
    measures: dict[str, Readout] = Field(min_length=1)
    primary: str
    cost: Literal["items", "minutes"] = "items"
    draws: int = Field(default=10_000, ge=100)
    without: dict[Literal["self_supervised", "shortcut", "full_data"], str] = Field(default_factory=dict)

    @field_validator("sets", "learners", "measures")
    @classmethod
    def _names_of_folders(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"found the name {name!r}, expected letters, digits, _ . + and -")
        return given

    @field_validator("without")
    @classmethod
    def _reasons(cls, given: dict[str, str]) -> dict[str, str]:
        for name, reason in given.items():
            if not reason.strip():
                raise ValueError(f"found no reason for {name}, expected why it is left out")
        return given

    @model_validator(mode="after")
    def _primary_is_one_figure(self) -> Benchmark:
        if self.primary not in self.measures:
            raise ValueError(f"primary: found {self.primary!r}, expected one of {', '.join(self.measures)}")
        if self.measures[self.primary].by is not None:
            raise ValueError(f"primary: {self.primary!r} is split by a column, expected a measure of all test rows")
        return self


def benchmarks() -> dict[str, Path]:
    """Name -> file of every benchmark in `configs/benchmark`."""
    return group("benchmark")


def read_benchmark(name: str) -> Benchmark:
    """The benchmark of a name, or of a path that ends in .yaml.

    Raises:
        UnknownName: on an unknown name or key, with the nearest right one.
        ConfigError: on a value that does not fit.

    Example:
        >>> read_benchmark("smoke").blocks
        2
    """
    path = choose("benchmark", name, benchmarks())
    return checked(read(path), str(path))


def checked(content: Mapping[str, Any], where: str) -> Benchmark:
    """Plain data as a benchmark.

    Args:
        content: of the file or of a stored index.
        where: how an error names it.

    Raises:
        UnknownName: on an unknown key.
        ConfigError: on a value that does not fit.
    """
    try:
        return Benchmark.model_validate(content)
    except ValidationError as error:
        known: ConfigError = invalid(error, content)
        raise type(known)(f"{where}: {known}") from None
