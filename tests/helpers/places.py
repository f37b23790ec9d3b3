"""Where the checkout lies, and published measurements beside it, which a user's machine does not have."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
SHARED = ROOT.parent / "shared"
MEASUREMENTS = Path(os.environ.get("ROOFLINE_MEASUREMENTS", SHARED / "measurements"))
