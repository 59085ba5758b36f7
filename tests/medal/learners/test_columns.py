"""The shortcut baseline: no pixel is read, statistics are those of the pool part, the code travels with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toy import VectorSource, names

from medal.contracts import check_learner
from medal.errors import ConfigError, UnknownName
from medal.learners import Beta, Columns, MCDropout, Parts
from medal.learners.columns import Column, ColumnSource, learn_column
from medal.pool import LabelTable, Pool
from medal.seeding import Seed
from medal.split import Split
from medal.units import Units


@dataclass
class Blind(VectorSource):
    """A source that raises when its images are read."""

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        raise AssertionError("a pixel was read")


def told(rows: int = 40, digest: str = "told") -> tuple[Blind, Tensor]:
    """Views that decide the first label, ages above 50 that decide the second."""
    ids, groups = names(rows)
    view = tuple("PA" if i % 2 else "AP" for i in range(rows))
    age = tuple("" if i % 10 == 9 else str(30 + (i * 7) % 40) for i in range(rows))
    meta = {"view": view, "age": age, "sex": ("",) * rows}
    first = torch.tensor([float(v == "PA") for v in view])
    second = torch.tensor([float(bool(a) and int(a) > 50) for a in age])
    source = Blind(torch.zeros(rows, 3), ("left", "right"), ids, groups, meta=meta, digest=digest)
    return source, torch.stack([first, second], 1)


def pool_of(source: VectorSource, test: int = 0) -> Pool:
    parts = ("pool",) * (len(source.ids) - test) + ("test",) * test
    return Pool(Units("image", source.ids, source.groups), source.labels, Split(source.ids, source.groups, parts))


def test_numbers_are_standardised_and_what_is_missing_says_so():
    column = learn_column("age", ["10", "", "20", "30.0"])
    assert (column.name, column.values, column.mean) == ("age", (), 20.0)
    assert column.deviation == pytest.approx((200 / 3) ** 0.5)
    coded = column.encode(["20", "", "30", "nan", "old"])
    torch.testing.assert_close(coded, torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.5**0.5, 0.0], [0.0, 1.0], [0.0, 1.0]]))


def test_categories_are_one_hot_and_a_new_one_is_none_of_them():
    column = learn_column("view", ["PA", "", "AP", "12"])
    assert column.values == ("12", "AP", "PA")
    assert column.encode(["AP", "LL", ""]).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert column.encode([]).shape == (0, 4)


@pytest.mark.parametrize("cells", [["", ""], [], ["7", "7"]])
def test_a_column_without_variation_is_level(cells: list[str]):
    column = learn_column("x", cells)
    assert column.deviation == 1.0
    assert torch.isfinite(column.encode(["7", ""])).all()


def test_statistics_are_those_of_the_pool_part():
    source, truth = told()
    source.meta = {**source.meta, "age": (*source.meta["age"][:30], *("900",) * 10)}
    learner = Columns(source, ["age"], steps=2)
    learner.fit(pool_of(source, test=10), LabelTable(torch.arange(20), truth[:20]), Seed(0))
    expected = learn_column("age", source.meta["age"][:30])
    assert torch.equal(learner.source.images([0, 35]), expected.encode([source.meta["age"][0], "900"]))


def test_it_learns_what_the_columns_say_and_reads_no_pixel():
    source, truth = told(80)
    learner = Columns(source, ["view", "age", "sex"], steps=300)
    learner.fit(pool_of(source), LabelTable(torch.arange(60), truth[:60]), Seed(0))
    found = learner.predict().get("marginals", torch.arange(60, 80))[:, 0]
    assert float(((found > 0.5) == (truth[60:] > 0.5)).float().mean()) > 0.9


def test_the_code_travels_with_the_weights_to_other_data(tmp_path: Path):
    source, truth = told()
    learner = Columns(source, ["view", "age"], steps=20)
    learner.fit(pool_of(source), LabelTable(torch.arange(30), truth[:30]), Seed(0))
    state = learner.state_dict()
    other, _ = told(6, "other")
    other.meta = {**other.meta, "view": ("PA",) * 6, "age": ("900",) * 6}
    again = Columns(other, ["view", "age"], steps=20)
    again.load_state_dict(state, Seed(0))
    expected = learn_column("age", source.meta["age"]).encode(["900"])[0]
    assert torch.equal(again.source.images([0])[0], torch.cat([torch.tensor([0.0, 1.0, 0.0]), expected]))
    here = Columns(source, ["view", "age"], steps=20)
    here.load_state_dict(state, Seed(0))
    rows = torch.arange(40)
    assert torch.equal(here.predict().get("marginals", rows), learner.predict().get("marginals", rows))


def test_what_does_not_fit_is_one_line():
    source, truth = told()
    with pytest.raises(UnknownName, match="unknown column 'views'; did you mean 'view'"):
        Columns(source, ["views"])
    with pytest.raises(ConfigError, match=r"learner\.columns: found none, .* toy has: age, sex, view"):
        Columns(source, [])
    learner = Columns(source, ["view"], steps=2)
    learner.fit(pool_of(source), LabelTable(torch.arange(9), truth[:9]), Seed(0))
    state = learner.state_dict()
    with pytest.raises(ConfigError, match="the weights read the columns view; the recipe names age, view"):
        Columns(source, ["age", "view"]).load_state_dict(state, Seed(0))
    del state["columns"]
    with pytest.raises(ConfigError, match="do not say how columns are read"):
        Columns(source, ["view"]).load_state_dict(state, Seed(0))


def test_everything_else_is_the_sources_own():
    source, _ = told()
    coded = ColumnSource(source, [Column("view", ("AP", "PA"))])
    for name in ("name", "labels", "ids", "groups", "splits", "meta", "quarantined"):
        assert getattr(coded, name) == getattr(source, name)
    assert coded.shape == (3,)
    assert coded.preview(3) == source.preview(3)
    assert coded.digest != source.digest


@pytest.mark.parametrize("parts", [Parts(), Parts(Beta(), MCDropout(3))])
def test_contract(parts: Parts):
    source, _ = told(20)
    check_learner(Columns(source, ["view", "age"], parts=parts, steps=5, batch=8), source)
