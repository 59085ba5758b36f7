"""What there is to choose from, read from `configs/`: works, tasks and data sets, with what heads each file."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from medal.errors import UnknownName
from medal.resources import datasets, recipes, works

KINDS = ("works", "tasks", "data")


def heading(path: Path) -> str:
    """The comment on top of a YAML file as one text; empty when there is none."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def tables(what: str) -> Table:
    """One table of names and what they are.

    Args:
        what: "works", "tasks" or "data".

    Raises:
        UnknownName: on anything else.
    """
    if what not in KINDS:
        raise UnknownName.near("list", what, KINDS)
    found = {"works": works, "tasks": recipes, "data": datasets}[what]()
    if what == "works":
        table = Table("strategy=", "survey section", "what it is")
        for name, path in sorted(found.items(), key=lambda item: (item[1].parent.name, item[0])):
            table.add_row(name, path.parent.name.replace("_", " "), heading(path))
        return table
    table = Table("medal run" if what == "tasks" else "data=", "what it is")
    for name, path in found.items():
        table.add_row(name, heading(path))
    return table
