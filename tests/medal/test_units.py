import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medal.errors import UnitError, UnknownName
from medal.units import FINDING, IMAGE, SEPARATOR, Kind, Unit, Units, kind_of, register_kind

IMAGES = Units("image", ("a", "b", "c"), ("p", "p", "q"))
FINDINGS = Units("finding", ("a", "b"), ("p", "q"), ("Mass", "Edema", "Nodule"))


def test_whole_rows():
    assert len(IMAGES) == 3
    assert IMAGES.ids == ("a", "b", "c")
    assert IMAGES.row.tolist() == [0, 1, 2]
    assert IMAGES.index.tolist() == [0, 0, 0]
    assert IMAGES[1] == Unit("b", "image", "b", None, "p")


def test_units_inside_rows_stand_in_the_order_of_their_ids():
    assert FINDINGS.ids == ("a#Edema", "a#Mass", "a#Nodule", "b#Edema", "b#Mass", "b#Nodule")
    assert FINDINGS.row.tolist() == [0, 0, 0, 1, 1, 1]
    assert FINDINGS.index.tolist() == [1, 0, 2, 1, 0, 2]
    assert FINDINGS[4] == Unit("b#Mass", "finding", "b", "Mass", "q")


def test_ids_are_sorted_as_text_even_where_rows_interleave():
    # "a!" sorts before "a#..." because "!" comes before "#"
    units = Units("finding", ("a", "a!"), ("p", "q"), ("x", "y"))
    assert units.ids == ("a!#x", "a!#y", "a#x", "a#y")
    assert units.row.tolist() == [1, 1, 0, 0]


names = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=6)


@given(st.lists(names, unique=True, max_size=6).map(sorted), st.lists(names, unique=True, min_size=1, max_size=4))
def test_every_position_leads_to_its_id_and_back(rows, inner):
    units = Units("finding", tuple(rows), tuple("g" + r for r in rows), tuple(inner))
    assert list(units.ids) == sorted(units.ids)
    assert len(units) == len(rows) * len(inner)
    assert units.positions(units.ids).tolist() == list(range(len(units)))
    for i, unit in enumerate(units):
        assert unit.id == units.ids[i] == f"{unit.parent}{SEPARATOR}{unit.inside}"
        assert unit.parent == rows[int(units.row[i])]
        assert unit.inside == inner[int(units.index[i])]
        assert unit.group == "g" + unit.parent


def test_iteration_ends():
    assert [unit.id for unit in IMAGES] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        IMAGES[3]


def test_positions_keep_the_order_given():
    positions = IMAGES.positions(["c", "a", "c"])
    assert positions.tolist() == [2, 0, 2]
    assert positions.dtype == torch.long
    assert IMAGES.positions([]).dtype == torch.long
    assert IMAGES.names(positions) == ["c", "a", "c"]
    assert IMAGES.names([1]) == ["b"]


def test_unknown_id():
    with pytest.raises(UnitError, match="unit 'z' is not in this pool; ids come from `ask` or `status`"):
        IMAGES.positions(["a", "z"])


def test_of_rows():
    assert FINDINGS.of_rows(torch.tensor([1])).tolist() == [3, 4, 5]
    assert FINDINGS.of_rows(torch.tensor([1, 0, 1])).tolist() == [0, 1, 2, 3, 4, 5]
    assert FINDINGS.of_rows(torch.tensor([], dtype=torch.long)).tolist() == []
    assert IMAGES.of_rows(torch.tensor([2, 0])).tolist() == [0, 2]


def test_whole():
    assert IMAGES.whole() is IMAGES
    whole = FINDINGS.whole()
    assert (whole.kind, whole.ids, whole.row_groups) == ("image", ("a", "b"), ("p", "q"))


def test_equality_counts_what_was_given():
    assert Units("image", ("a", "b", "c"), ("p", "p", "q")) == IMAGES
    assert Units("image", ("a", "b", "c"), ("p", "q", "q")) != IMAGES


def test_nothing():
    units = Units("image", (), ())
    assert (len(units), list(units), units.row.dtype) == (0, [], torch.long)
    assert Units("finding", (), (), ("x",)).ids == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("image", ("a", "b"), ("p",)), "2 rows but 1 groups; give one group for each row"),
        (("image", ("b", "a"), ("p", "p")), "rows must be sorted and distinct"),
        (("image", ("a", "a"), ("p", "p")), "rows must be sorted and distinct"),
        (("finding", ("a",), ("p",)), "kind 'finding' needs names inside the row"),
        (("image", ("a",), ("p",), ("x",)), "kind 'image' has no names inside the row"),
        (("finding", ("a",), ("p",), ("x", "x")), "two units have the id 'a#x'"),
        (("finding", ("a", "a#b"), ("p", "q"), ("b#c", "c")), "two units have the id 'a#b#c'; rename"),
    ],
)
def test_tables_that_are_refused(arguments, message):
    with pytest.raises(UnitError, match=message):
        Units(*arguments)


def test_unknown_kind_names_the_nearest():
    with pytest.raises(UnknownName, match="unknown unit kind 'imag'; did you mean 'image'"):
        Units("imag", (), ())


def test_kinds_are_registered_once(monkeypatch):
    monkeypatch.setattr("medal.units._KINDS", {"image": IMAGE, "finding": FINDING})
    slide = register_kind(Kind("slide", inner=False, minutes=5.0))
    assert register_kind(Kind("slide", inner=False, minutes=5.0)) == slide
    assert kind_of("slide") is slide
    with pytest.raises(UnitError, match=r"kind 'slide' is registered as .*; choose another name"):
        register_kind(Kind("slide", inner=True, minutes=5.0))
    assert kind_of("slide") is slide
