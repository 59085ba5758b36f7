"""Where commands write: results to standard output, problems to standard error."""

from __future__ import annotations

from rich.console import Console

out = Console()
problems = Console(stderr=True)
