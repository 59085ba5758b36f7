"""`medal benchmark` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from small_benchmark import tables_of, write_file
from typer.testing import CliRunner

import medal.run
from medal.commands.benchmark import register
from medal.errors import StudyError, UnknownName

main = typer.Typer()
register(main)


@main.command()
def other() -> None:
    """Makes the application one with several commands."""


runner = CliRunner()


def call(*words: str, code: int = 0) -> str:
    result = runner.invoke(main, ["benchmark", *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    told = call(str(write_file(folder / "small.yaml", blocks=1)), "--out", str(folder / "out"))
    assert "4 cells, 4 to play" in told
    return folder / "out"


def test_run_is_the_command_when_none_is_named(played: Path) -> None:
    assert (played / "report" / "report.html").is_file()
    assert (played / "tables" / "tables.md").is_file()


def test_every_command_explains_itself() -> None:
    for command in ("run", "plan", "resume", "report", "verify", "picks"):
        assert len(call(command, "--help").splitlines()) > 5
    assert "verify" in call("--help")


def test_given_again_it_plays_nothing(played: Path) -> None:
    before = tables_of(played)
    file = played.parent / "small.yaml"
    assert "4 cells, 0 to play" in call("run", str(file), "--blocks", "1", "--out", str(played))
    assert tables_of(played) == before


def test_verify_counts_what_it_checked(played: Path) -> None:
    assert "4 of 4 cells" in call("verify", str(played))
    assert "0 problems" in call("verify", str(played))


def test_verify_exits_with_two_when_something_is_wrong(played: Path) -> None:
    path = played / "tables" / "curves.csv"
    kept = path.read_bytes()
    path.write_bytes(kept + b"\n")
    assert "curves.csv is not what the cells give" in call("verify", str(played), code=2)
    call("report", str(played))
    assert path.read_bytes() == kept


def test_a_failed_cell_is_named_and_the_exit_code_is_two(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> str:
        raise StudyError("the disk is gone")

    monkeypatch.setattr(medal.run, "play", breaks)
    file = played.parent / "small.yaml"
    told = call("run", str(file), "--out", str(tmp_path / "b"), code=2)
    assert "drawn/sigmoid/entropy/block_00: the disk is gone" in told
    assert "4 cells failed" in told


def test_picks_go_where_they_are_wanted(played: Path, tmp_path: Path) -> None:
    assert "4 cells" in call("picks", str(played), "--out", str(tmp_path))
    assert (tmp_path / "drawn" / "sigmoid.json").is_file()


def test_plan_counts_cells_and_plays_none(played: Path, tmp_path: Path) -> None:
    told = call("plan", str(played.parent / "small.yaml"), "--out", str(tmp_path / "b"))
    assert "sigmoid" in told
    assert " 4 " in told
    assert {p.name for p in (tmp_path / "b").iterdir()} == {"cache"}


def test_an_unknown_benchmark_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'smoke'"):
        call("smokey")


def test_a_folder_that_is_no_benchmark_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is no benchmark"):
        call("verify", str(tmp_path))
