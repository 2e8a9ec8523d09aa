"""Names that the command line needs when it starts, so that this module imports nothing."""

from __future__ import annotations

PICTURES = "pictures"  # the built-in data set of pictures of any size, and the recipe of two folders of them
