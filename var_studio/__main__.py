"""``python -m var_studio`` is the command ``var-studio``."""

from __future__ import annotations

import sys

from var_studio.cli import main

if __name__ == "__main__":
    sys.exit(main())
