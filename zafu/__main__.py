"""`python -m zafu`: the same as the command `zafu`."""

import sys

from zafu.cli import main

sys.exit(main())
