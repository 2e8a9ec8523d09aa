"""Image files: their pixels as arrays, and files of the same format with other pixels."""
