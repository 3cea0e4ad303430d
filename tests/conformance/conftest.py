"""The exam of exports shares its runs with other tests of exports."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
