"""Tables as CSV and as Markdown."""

from __future__ import annotations

import math

from medal.benchmark.table import interval, markdown, number, signed, table_of


def test_csv_is_the_same_bytes_for_the_same_values() -> None:
    rows = [{"a": "x, y", "b": 0.1 + 0.2, "c": None}, {"a": "z", "b": math.nan, "c": 3}, {"a": "", "b": -1e-9}]
    text = table_of("t", ["a", "b", "c"], rows).csv().decode()
    assert text == 'a,b,c\n"x, y",0.300000,\nz,,3\n,0.000000,\n'


def test_people_read_three_decimals_and_signs() -> None:
    assert (number(0.12345), number(-0.5), number(None), number(math.inf)) == ("0.123", "-0.500", "-", "-")
    assert (signed(0.5), signed(-0.5), signed(0.0)) == ("+0.500", "-0.500", "0.000")
    assert (interval(-0.1, 0.25), interval(math.nan, 1.0)) == ("-0.100 to +0.250", "-")


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown(["a", "b"], [["x|y", "1"]]).splitlines()[-1] == "| x\\|y | 1 |"
