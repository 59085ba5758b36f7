"""Runs the commands of Markdown files: every line of a ```bash block, each page in a shell of its own.

A line that ends in `# not in CI` is shown to readers alone. A line that ends in `# CI: --smoke` is run with the words
after the colon added. Needs no package, so that the page that sets everything up can be run first.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
SKIP = "# not in CI"
ADD = "# CI:"


def commands(text: str) -> list[str]:
    """The commands of one page, as CI runs them."""
    found = []
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip()
            if not line or line.startswith("#") or line.endswith(SKIP):
                continue
            shown, _, added = line.partition(ADD)
            found.append(f"{shown.strip()} {added.strip()}".strip())
    return found


def main(pages: list[str]) -> int:
    """Runs every page; returns 1 when a command failed."""
    status = 0
    for page in pages:
        lines = commands(Path(page).read_text(encoding="utf-8"))
        if not lines:
            continue
        script = "set -e\n" + "\n".join(f"echo {shlex.quote('$ ' + line)}\n{line}" for line in lines)
        done = subprocess.run(["bash", "-c", script], check=False)
        sys.stdout.write(f"{page}: {len(lines)} commands, exit {done.returncode}\n")
        status |= done.returncode != 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
