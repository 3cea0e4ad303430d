"""What kinds of units there are; it stands alone, so that recipes are checked without torch."""

from typing import Literal

What = Literal["hidden", "heads", "channels", "stream"]
