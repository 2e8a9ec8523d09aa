"""The S+U mathematics: networks, losses, history, the game. It knows no file, plugin, clock or command line."""
