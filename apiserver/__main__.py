"""`python -m apiserver` is the command `skep`."""

import sys

from apiserver.cli import main

sys.exit(main())
