"""README's recipes are what the sidecar answers."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_readme_shows_what_the_sidecar_answers() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "build" / "recipes.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
