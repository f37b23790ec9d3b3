"""``python -m roofline`` is the `roofline` command."""

from __future__ import annotations

import sys

from roofline.cli import main

sys.exit(main())
