from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medal import resources
from medal.errors import ConfigError, MedalError, UnknownName


def test_root_is_the_parent_of_the_core():
    assert (resources.ROOT / "medal" / "resources.py").samefile(resources.__file__)
    assert (resources.ROOT / "configs").is_dir()


def test_default_is_named_by_its_folder_and_groups_are_no_recipes():
    names = resources.recipes()
    assert names["chest_xray"].name == "default.yaml"
    assert "chest_xray/densenet" in names
    assert not any(name.split("/")[0] in resources.NOT_RECIPES for name in names)
    assert list(names) == sorted(names)


def test_data_sets_and_works_are_listed_by_file_name():
    assert set(resources.datasets()) >= {"phantom", "nih", "chexpert", "folder"}
    assert resources.works()["bald"].parent.name == "3_1_uncertainty"


def test_an_unknown_recipe_gets_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown recipe 'chest_xray/densnet'; did you mean 'chest_xray/densenet'"):
        resources.config_path("chest_xray/densnet")


def test_names_never_leave_the_folder_of_recipes():
    with pytest.raises(UnknownName):
        resources.config_path("../../etc/passwd")


def test_a_path_to_yaml_is_the_users_own_file():
    assert resources.config_path("some/where.yaml") == Path("some/where.yaml")
    assert resources.config_path("~/x.yml") == Path.home() / "x.yml"


def test_two_works_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "ROOT", tmp_path)
    for section in ("a", "b"):
        (tmp_path / "configs" / "works" / section).mkdir(parents=True)
        (tmp_path / "configs" / "works" / section / "twin.yaml").touch()
    with pytest.raises(ConfigError, match="two works are called 'twin'"):
        resources.works()


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setattr(resources, "SIBLINGS", ("modalities_that_are_nowhere",))
    with pytest.raises(MedalError, match="'modalities_that_are_nowhere' was not found, expected at"):
        resources.check_siblings()


@pytest.mark.parametrize("layout", ["package", "namespace", "module"])
def test_somebody_elses_package_is_named_with_ours(tmp_path, layout):
    folder = tmp_path / "modalities"
    if layout == "module":
        folder = tmp_path / "modalities.py"
        folder.touch()
    else:
        folder.mkdir()
        if layout == "package":
            (folder / "__init__.py").touch()
    code = (
        "from medal.resources import check_siblings\nfrom medal.errors import MedalError\n"
        "try:\n    check_siblings()\nexcept MedalError as error:\n    print(error)\nelse:\n    print('fine')"
    )
    paths = [str(tmp_path), str(resources.ROOT)]
    if layout == "namespace":  # a folder without __init__.py only wins where ours is no regular package
        paths.reverse()
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
    )
    said = run.stdout.decode().strip()
    if layout == "namespace":
        assert said == "fine", run.stderr.decode()
        return
    ours = resources.ROOT / "modalities"
    assert said == f"'modalities' resolves to {folder}, which hides {ours}; start from another folder or rename yours"


def test_our_own_packages_pass():
    run = subprocess.run(
        [sys.executable, "-c", "from medal.resources import check_siblings; check_siblings()"],
        env={**os.environ, "PYTHONPATH": str(resources.ROOT)},
        cwd=resources.ROOT,
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr.decode()
