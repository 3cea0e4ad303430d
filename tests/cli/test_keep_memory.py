import platform
import subprocess
import sys

import pytest

PAGE_FAULTS = """
import resource
from zafu.cli.train import keep_memory

def step():
    parts = [bytearray(2**22) for _ in range(8)]  # 32 MiB: 8192 pages, freed at the end

keep_memory()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_what_a_step_frees_is_not_fetched_from_the_kernel_again() -> None:
    command = [sys.executable, "-c", PAGE_FAULTS]

    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults < 8192
