"""Sibling folders: where recipes, works and the three packages beside the core lie.

The folders `medal`, `modalities`, `pretrained`, `tasks` and `configs` are siblings in a checkout, an editable install
and a wheel alike, so one rule finds them in each.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from medal.errors import ConfigError, MedalError, UnknownName

ROOT = Path(__file__).resolve().parent.parent
"""Parent folder of the package `medal`."""
SIBLINGS = ("modalities", "pretrained", "tasks")
NOT_RECIPES = ("data", "learner", "oracle", "works", "smoke", "benchmark")
"""Folders of `configs` whose files are laid over a recipe, or hold something else than one."""


def configs() -> Path:
    """The folder of recipes."""
    return ROOT / "configs"


def recipes() -> dict[str, Path]:
    """Name -> file of every recipe; `chest_xray/default.yaml` is called `chest_xray`."""
    found = (p for p in configs().glob("*/*.yaml") if p.parent.name not in NOT_RECIPES)
    named = {p.parent.name if p.stem == "default" else f"{p.parent.name}/{p.stem}": p for p in found}
    return dict(sorted(named.items()))


def group(name: str) -> dict[str, Path]:
    """Name -> file of every choice of a group, such as "data" or "learner"."""
    return {p.stem: p for p in sorted((configs() / name).glob("*.yaml"))}


def datasets() -> dict[str, Path]:
    """Name -> file of every data set that `data=NAME` knows."""
    return group("data")


def works() -> dict[str, Path]:
    """Name -> file of every surveyed work, whatever its section.

    Raises:
        ConfigError: if two files have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted((configs() / "works").rglob("*.yaml")):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise ConfigError(f"two works are called {path.stem!r}: {other} and {path}; rename one")
    return found


def is_file_name(name: str) -> bool:
    """Whether a name is the path of the user's own YAML file."""
    return name.endswith((".yaml", ".yml"))


def choose(what: str, name: str, known: dict[str, Path]) -> Path:
    """The file of a name, or the user's own file when the name is a path to YAML.

    Raises:
        UnknownName: with the nearest right name.
    """
    if is_file_name(name):
        return Path(name).expanduser()
    if name not in known:
        raise UnknownName.near(what, name, known)
    return known[name]


def config_path(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: such as "chest_xray" or "chest_xray/densenet", or a path that ends in .yaml.

    Raises:
        UnknownName: with the nearest right name.

    Example:
        >>> config_path("chest_xray/densenet").name
        'densenet.yaml'
    """
    return choose("recipe", name, recipes())


def _folder_of(spec: ModuleSpec) -> Path:
    if spec.origin is not None:
        path = Path(spec.origin)
        return (path.parent if path.name == "__init__.py" else path).resolve()
    return Path(next(iter(spec.submodule_search_locations or [""]))).resolve()


def check_siblings() -> None:
    """Makes sure that nobody else's `modalities`, `pretrained` or `tasks` hides ours.

    Raises:
        MedalError: naming both paths.
    """
    for name in SIBLINGS:
        ours = ROOT / name
        try:
            spec = find_spec(name)
        except ValueError:  # a module without a spec was put in its place by hand
            spec = None
        if spec is None:
            raise MedalError(f"the package {name!r} was not found, expected at {ours}; install medal-imaging again")
        theirs = _folder_of(spec)
        if theirs != ours.resolve():
            raise MedalError(
                f"{name!r} resolves to {theirs}, which hides {ours}; start from another folder or rename yours"
            )
