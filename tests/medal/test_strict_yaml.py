from __future__ import annotations

import pytest

from medal.errors import ConfigError
from medal.strict_yaml import dump, parse, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E4", 10000.0),
        (".5", 0.5),
        ("-2", -2),
        ("1_000", 1000),
        ("010", "010"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2020-01-01", "2020-01-01"),
        ("0x10", "0x10"),
        ("null", None),
        ("", None),
        ("[a, 1, 2.0]", ["a", 1, 2.0]),
        ("<<", "<<"),
    ],
)
def test_plain_values(text, value):
    found = parse(text, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: 1\nb: [1,\n", r"^f, line 3: .*expected YAML such as"),
        ("a: 1\na: 2\n", r"^f, line 2: found the key 'a' twice; keep one"),
        ("a: {b: 1, b: 2}", "found the key 'b' twice"),
        ("a: &x 1\nb: *x\n", "line 1: found an anchor or alias; write the value out"),
        ("a: *x", "found an anchor or alias"),
        ("1: a", "found the key 1, expected text"),
        ("{[a]: 1}", r"found the key \['a'\], expected text"),
        ("a: .inf", "found the number inf, expected a finite one"),
        ("a: [.nan]", "found the number nan"),
        ("!!set {a, b}", "found a set"),
        ("!!binary aGk=", "found a bytes"),
        ("!!timestamp 2020-01-01", "found a date"),
        ("!!timestamp x", "expected YAML such as"),
        ("!!bool x", "expected YAML such as"),
        ("!!int x", "expected YAML such as"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: \x00", "expected YAML such as"),
        ("[" * 5000, "is nested too deep"),
    ],
)
def test_what_is_refused_is_said_in_one_line(text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        parse(text, "f")
    assert "\n" not in str(caught.value)


def test_dump_is_read_back_to_the_same_value():
    value = {
        "a": ["1e-3", "no", "010", "yes", "2020-01-01", "1:30", 1e-5, 1.0, True, None, "ä", "", "x: y"],
        "b": {"c": {}},
    }
    value["d"] = value["a"]
    text = dump(value)
    assert parse(text, "x") == value
    assert "&" not in text
    assert list(parse(text, "x")) == ["a", "b", "d"]


def test_files(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read(good) == {"a": 1}
    with pytest.raises(ConfigError, match="there is no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)
    for content, match in ((b"[1]", "found a list"), (b"", "found nothing"), (b"a: \xff", "is not UTF-8")):
        good.write_bytes(content)
        with pytest.raises(ConfigError, match=match):
            read(good)
