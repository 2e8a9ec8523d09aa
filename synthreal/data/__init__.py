"""Data sets: packs, folders and simulators, and endless batches from them."""

from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.writer import write_pack

__all__ = ["Pack", "Resident", "write_pack"]
