"""Other libraries, one module each: each the only importer of its library, which may be missing.

What they share is in ``lazy`` (the refiner of a folder) and ``images`` (images as those libraries hold them).
"""
