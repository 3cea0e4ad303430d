import subprocess
import sys

SCRIPT = """
import sys
from zafu.optim.averaging import Average
from zafu.optim.contract import Optimizer
from zafu.optim.penalties import Penalty
from zafu.optim.schedules import Schedule
for family in (Average, Optimizer, Penalty, Schedule):
    assert [kind() for kind in family.kinds().values()]
print(sorted({"torch", "numpy", "sklearn"} & sys.modules.keys()))
"""


def test_a_recipe_can_name_every_technique_before_torch_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
