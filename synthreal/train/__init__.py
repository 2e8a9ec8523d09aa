"""Training: the loop, and everything it needs."""

from synthreal.train.build import build_game
from synthreal.train.contact_sheet import save_sheet
from synthreal.train.log import Report
from synthreal.train.sources import open_stream

__all__ = ["Report", "build_game", "open_stream", "save_sheet"]
