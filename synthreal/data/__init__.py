"""Data sets: packs, folders, simulators, and endless batches of them."""

from synthreal.data.pack import Pack
from synthreal.data.writer import write_pack

__all__ = ["Pack", "write_pack"]
