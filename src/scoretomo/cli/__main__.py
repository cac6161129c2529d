"""``python -m scoretomo.cli``: the command."""

import sys

from .app import main

sys.exit(main())
