"""Other libraries, one module each: each the only importer of its library, which may be missing."""
