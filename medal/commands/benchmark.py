"""`medal benchmark`: compare strategies fairly, keep every cell, make the tables again without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from medal.commands.console import out, problems

if TYPE_CHECKING:
    from medal.benchmark.execution import Failure
    from medal.benchmark.folder import BenchmarkFolder
    from medal.benchmark.plan import Plan

RUNS = Path("runs")
File = Annotated[str, typer.Argument(help="Name of a file in configs/benchmark, or your own YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Laid over every recipe, after those of the file: data.root=FOLDER, resources.processes=4."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the benchmark; default runs/benchmark-FILE.")]
Smoke = Annotated[
    bool, typer.Option("--smoke", help="A tiny version: two blocks, everything runs once, nothing is learned.")
]
Blocks = Annotated[int | None, typer.Option("--blocks", help="Number of blocks instead of the file's.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a benchmark.")]


class RunByDefault(TyperGroup):
    """A group whose first word may be left out when it is `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Compare strategies: sets x learners x strategies x blocks, always beside random and the full-data line.\n\n"
    "Begin with [bold]medal benchmark smoke[/bold]; docs/benchmark.md tells the rest.",
)


def register(main: typer.Typer) -> None:
    """Adds the family to the application."""
    main.add_typer(app, name="benchmark")


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    to: Out = None,
    smoke: Smoke = False,
    blocks: Blocks = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as `medal benchmark plan`.")] = False,
) -> None:
    """Play every cell of a benchmark file that is not finished, then write tables and report.

    Given again with the same --out, it goes on where it was stopped or killed. Exit code 2 when a cell failed.

    [dim]medal benchmark chest_xray_nih data.root=FOLDER --out runs/nih[/dim]
    """
    from medal.benchmark.folder import make_folder

    planned = _planned(file, overrides or [], smoke, blocks)
    target = to or _default(file)
    if dry_run:
        _tell_plan(planned, target)
        return
    _play(make_folder(target, planned))


@app.command()
def plan(file: File, overrides: Overrides = None, to: Out = None, smoke: Smoke = False, blocks: Blocks = None) -> None:
    """Say how many cells a benchmark has and how long they will take; play none."""
    _tell_plan(_planned(file, overrides or [], smoke, blocks), to or _default(file))


@app.command()
def resume(
    folder: Folder,
    places: Annotated[
        list[str] | None, typer.Argument(help="Where the data lie now (data.root=FOLDER), or other resources.")
    ] = None,
) -> None:
    """Go on with a benchmark that was stopped or killed; its tables are those of one that never was."""
    from medal.benchmark.folder import open_folder, placed

    _play(placed(open_folder(folder), places or []))


@app.command()
def report(
    folder: Folder,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the report; default FOLDER/report.")] = None,
) -> None:
    """Compute the tables again from stored cells, and write the report; trains nothing, needs no data set."""
    from medal.benchmark.folder import open_folder

    _write(open_folder(folder), to)


@app.command()
def verify(folder: Folder) -> None:
    """Check journals, splits, start sets, predictions and truth, and compute every table again, byte for byte."""
    from medal.benchmark.folder import open_folder
    from medal.benchmark.verify import verify as check

    found = check(open_folder(folder))
    for problem in found.problems:
        problems.print(f"[red]{escape(problem)}[/red]", highlight=False, soft_wrap=True)
    out.print(
        f"{folder}: {found.cells} of {found.planned} cells, {found.events} events, {found.predictions} tables of "
        f"predictions, {found.tables} tables; {len(found.problems)} problems",
        highlight=False,
        soft_wrap=True,
    )
    if found.problems:
        raise typer.Exit(2)


@app.command()
def picks(
    folder: Folder,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write; default FOLDER/picks.")] = None,
    files: Annotated[
        Path | None,
        typer.Option("--files", help="Folder of a public data set, to name each image by its file too."),
    ] = None,
) -> None:
    """Write the picks of every round as CSV and JSON, so that another tool can be fed the same ones."""
    from medal.benchmark.folder import open_folder
    from medal.benchmark.picks import write_picks

    written = write_picks(open_folder(folder), to or folder / "picks", files)
    out.print(f"picks: {written} cells, {to or folder / 'picks'}", soft_wrap=True)


def _planned(file: str, overrides: Sequence[str], smoke: bool, blocks: int | None) -> Plan:
    from medal.benchmark.plan import plan as resolve
    from medal.benchmark.schema import read_benchmark

    return resolve(Path(file).stem, read_benchmark(file), overrides, smoke, blocks)


def _default(file: str) -> Path:
    return RUNS / f"benchmark-{Path(file).stem}"


def _play(folder: BenchmarkFolder) -> None:
    from medal.benchmark.board import Board
    from medal.benchmark.execution import execute, steps_of, to_do

    todo = to_do(folder)
    out.print(f"benchmark: {folder.path} ({len(folder.plan.cells)} cells, {len(todo)} to play)", soft_wrap=True)
    try:
        with Board(out, {cell.name: steps_of(folder.plan.recipe(cell)) for cell in todo}) as board:
            failures = execute(folder, board.notify)
    except KeyboardInterrupt:
        problems.print(f"\nstopped; nothing is lost: medal benchmark resume {folder.path}", soft_wrap=True)
        raise typer.Exit(130) from None
    _write(folder, None)
    _tell_failures(failures)


def _write(folder: BenchmarkFolder, to: Path | None) -> None:
    from medal.benchmark.page import write_benchmark_report
    from medal.benchmark.tables import write_tables

    with out.status("computing tables"):
        results = write_tables(folder)
        page = write_benchmark_report(folder, results, to)
    out.print(f"tables: {folder.tables}", soft_wrap=True)
    out.print(f"report: {page}", soft_wrap=True)


def _tell_failures(failures: Sequence[Failure]) -> None:
    for failure in failures:
        problems.print(f"[red]{failure.cell}: {escape(failure.error)}[/red]", highlight=False, soft_wrap=True)
    if failures:
        problems.print(f"{len(failures)} cells failed; the others are whole, and the same command plays these again")
        raise typer.Exit(2)


def _tell_plan(planned: Plan, folder: Path) -> None:
    from medal.benchmark.estimate import estimate
    from medal.screen import Screen

    with Screen(out) as screen:
        costs = estimate(planned, folder, screen.progress)
    title = f"{planned.name}: {planned.file.blocks} blocks"
    table = Table("set", "learner", "strategies", "cells", "time", title=title)
    for cost in costs:
        strategies = ", ".join(cost.strategies)
        table.add_row(cost.set, cost.learner, strategies, str(cost.cells), _duration(cost.seconds))
    total = sum(cost.seconds for cost in costs)
    table.add_row("all", "", "", str(len(planned.cells)), _duration(total), style="bold")
    out.print(table)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
