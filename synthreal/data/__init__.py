"""Data sets: packs, folders, MATLAB files and simulators, and endless batches from them."""

from synthreal.data.matlab import read_matlab
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.writer import write_pack

__all__ = ["Pack", "Resident", "read_matlab", "write_pack"]
