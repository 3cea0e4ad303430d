"""What is freed is kept, unless the user has a say in it."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a choice of glibc")
PAGE_FAULTS = """
import resource
from zafu.memory import keep_freed

def step():
    parts = [bytearray(2**22) for _ in range(8)]  # 32 MiB: 8192 pages, freed at the end

keep_freed()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


TOLD = "from zafu.memory import keep_freed; print(keep_freed())"


def told(code: str, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_a_step_frees_is_not_fetched_from_the_kernel_again() -> None:
    assert int(told(PAGE_FAULTS)) < 8192


def test_freed_memory_is_kept_unless_the_user_has_a_say_in_it() -> None:
    assert told(TOLD, {}) == "True"
    assert told(TOLD, {"MALLOC_ARENA_MAX": "1"}) == "False"
