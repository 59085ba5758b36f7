from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from medal import import_paths
from medal.errors import ConfigError, MissingDependency, UnknownName
from medal.import_paths import CORE_PARTS, registered_packages, resolve
from medal.reducers import LabelMean

HOSPITAL = {"hospital"}


def test_a_public_class_and_function_are_found():
    assert resolve("medal.reducers.LabelMean") is LabelMean
    assert resolve("hospital.coat", registered=HOSPITAL).__name__ == "coat"


@pytest.mark.parametrize(
    ("use", "match"),
    [
        ("os.system", r"use: os.system: a recipe may not name 'os', expected one of hospital, medal, modalities, "),
        ("builtins.eval", "may not name 'builtins'"),
        ("subprocess.Popen", "may not name 'subprocess'"),
        ("hospital.os.system", "hospital has no submodule 'os'"),
        ("hospital.subprocess.run", "hospital has no submodule 'subprocess'"),
        (
            "hospital.subprocess",
            "'subprocess' is a module of subprocess, expected a class or function that hospital defines",
        ),
        ("hospital.PublicPath", "'PublicPath' is a class of pathlib"),
        ("hospital.dataclass", "'dataclass' is a function of dataclasses"),
        ("hospital.CONSTANT", "'CONSTANT' is a int"),
        ("hospital.Clinic.__init__", "'__init__' is private"),
        ("hospital.__builtins__", "'__builtins__' is private"),
        ("hospital._private", "'_private' is private, expected public names"),
        ("hospital.WhiteCoat.wear", "hospital has no submodule 'WhiteCoat'"),
        ("medal.recipe.yaml.load", "medal.recipe.yaml holds no parts of a recipe"),
        ("medal.recipe.load", "medal.recipe holds no parts of a recipe; name one from medal.calibration,"),
        ("medal.build.build", "medal.build holds no parts"),
        ("medal.storage.os.system", "medal.storage.os holds no parts"),
        ("medal.uncertainty.disagreement.torch.load", "medal.uncertainty.disagreement has no submodule 'torch'"),
        ("medal.reducers.dataclass", "'dataclass' is a function of dataclasses"),
        ("medal.sampling.random.Seed", "'Seed' is a class of medal.seeding"),
        ("medal", "expected an import path such as medal.sampling.TopK"),
        ("", "expected an import path such as"),
        ("medal..x", "expected an import path such as"),
        ("medal.x;import os", "expected an import path such as"),
        (3, "use: 3: expected an import path such as"),
        (None, "use: None: expected an import path such as"),
        (["os", "system"], "expected an import path such as"),
    ],
)
def test_what_a_recipe_may_not_name(use, match):
    with pytest.raises(ConfigError, match=match) as caught:
        resolve(use, registered=HOSPITAL)
    assert "\n" not in str(caught.value)


def test_a_refused_module_is_not_even_imported():
    sys.modules.pop("antigravity", None)
    with pytest.raises(ConfigError):
        resolve("antigravity.fly")
    assert "antigravity" not in sys.modules


def test_the_nearest_name_is_told():
    with pytest.raises(UnknownName) as caught:
        resolve("medal.uncertainty.Entrpy")
    assert str(caught.value) == (
        "use: medal.uncertainty.Entrpy: medal.uncertainty has no 'Entrpy'; did you mean 'Entropy'?"
    )
    with pytest.raises(
        UnknownName, match=r"^strategy.0.score.use: medal.uncertainti.Entropy: medal.uncertainti holds no"
    ):
        _raise_as_unknown("medal.uncertainti.Entropy")
    with pytest.raises(UnknownName, match=r"medal.sampling has no 'topk'; did you mean 'top_k'"):
        resolve("medal.sampling.topk.TopK")
    with pytest.raises(UnknownName, match="hospital has no 'Xyzzy'; it has: Abstract, "):
        resolve("hospital.Xyzzy", registered=HOSPITAL)


def _raise_as_unknown(use):
    try:
        resolve(use, "strategy.0.score")
    except ConfigError as error:
        raise UnknownName(str(error)) from None


def test_suggestions_never_name_what_is_refused():
    with pytest.raises(UnknownName) as caught:
        resolve("hospital.Xyzzy", registered=HOSPITAL)
    assert not {"os", "subprocess", "PublicPath", "dataclass", "_private"} & set(str(caught.value).split(", "))


def test_a_package_that_is_not_installed(tmp_path, monkeypatch):
    with pytest.raises(UnknownName, match="the package 'nowhere_at_all' is not installed"):
        resolve("nowhere_at_all.X", registered={"nowhere_at_all"})
    (tmp_path / "half_installed.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match=r"half_installed.X: needs the package 'nowhere_at_all'"):
        resolve("half_installed.X", registered={"half_installed"})


def test_packages_are_registered_by_entry_point(monkeypatch):
    def points(group):
        assert group == "medal.packages"
        return [EntryPoint("our hospital", "hospital.parts:x", group)]

    with pytest.raises(ConfigError, match="may not name 'hospital'"):
        resolve("hospital.WhiteCoat")
    monkeypatch.setattr(import_paths, "entry_points", points)
    assert registered_packages() == {"hospital"}
    assert resolve("hospital.WhiteCoat").__name__ == "WhiteCoat"


def test_modules_that_read_or_write_are_no_parts():
    assert not {"build", "recipe", "resources", "storage", "ledger", "study", "cli", "run", "identity"} & set(
        CORE_PARTS
    )


def test_a_task_module_is_imported_or_named():
    assert import_paths.module("medal.sampling.top_k", "task").__name__ == "medal.sampling.top_k"
    with pytest.raises(
        UnknownName, match=r"^task: medal.sampling.topp: medal.sampling has no 'topp'; did you mean 'top_k'"
    ):
        import_paths.module("medal.sampling.topp", "task")
    with pytest.raises(ConfigError, match=r"task: os.path: a recipe may not name 'os'"):
        import_paths.module("os.path", "task")
