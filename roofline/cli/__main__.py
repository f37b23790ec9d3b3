"""``python -m roofline.cli`` is the `roofline` command."""

from __future__ import annotations

import sys

from roofline.cli.app import main

sys.exit(main())
