"""The command line: one thin file a verb, imported only when it is asked for."""

from zafu.cli.entry import main

__all__ = ["main"]
