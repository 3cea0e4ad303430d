"""Whose word counts about what is kept of freed memory; what it saves is in the docs of trials."""

import platform
import subprocess
import sys

import pytest

TOLD = "from zafu.memory import keep_freed; print(keep_freed())"


def told(environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", TOLD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a choice of glibc")
def test_freed_memory_is_kept_unless_the_user_has_a_say_in_it() -> None:
    assert told({}) == "True"
    assert told({"MALLOC_ARENA_MAX": "1"}) == "False"
