"""What a job expects around it: the folder that relative paths start from, where modules lie, medal's own variables.

A worker on another machine is brought into the surroundings of the process that sent the job, which is why all machines
must see the same files under the same paths.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from medal.errors import StudyError


@dataclass(frozen=True)
class Surroundings:
    """Surroundings of a process.

    Args:
        folder: the working folder.
        modules: places of modules, as in `sys.path`.
        variables: environment variables of medal (`MEDAL_...`).
    """

    folder: str
    modules: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        variables = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("MEDAL_")))
        return cls(str(Path.cwd()), tuple(place or str(Path.cwd()) for place in sys.path), variables)

    def enter(self) -> None:
        """Brings this process into them.

        Raises:
            StudyError: when the folder is not there.
        """
        try:
            os.chdir(self.folder)
        except OSError:
            machine = platform.node()
            raise StudyError(
                f"{self.folder} is not there on {machine}; expected a file system that all machines share"
            ) from None
        for name in [name for name in os.environ if name.startswith("MEDAL_")]:
            del os.environ[name]
        os.environ.update(dict(self.variables))
