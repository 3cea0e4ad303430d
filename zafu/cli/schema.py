"""`zafu schema`: the JSON Schema of recipes."""

from __future__ import annotations

import argparse
import json

from zafu.recipe import Recipe
from zafu.schema import json_schema

EXAMPLE = """\
  zafu schema > zafu.schema.json
  # then, as a recipe's first line:  # yaml-language-server: $schema=zafu.schema.json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(json_schema(Recipe), indent=1))
    return 0
