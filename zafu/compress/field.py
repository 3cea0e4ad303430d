"""A chain as a setting: a list of links, each a kind, `kind:value` or a mapping; or one line."""

from __future__ import annotations

from typing import Annotated

from zafu.compress.contract import Compression
from zafu.compress.words import chain, link
from zafu.words import OrLine, listed

Chain = Annotated[tuple[Compression, ...], listed(chain, link), OrLine()]
