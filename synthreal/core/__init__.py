"""The S+U mathematics: networks, losses, history, the game. It depends on no plugin, clock or command line."""

from synthreal.core.game import update_discriminator, update_refiner

__all__ = ["update_discriminator", "update_refiner"]
