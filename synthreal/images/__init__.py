"""Image files: what they hold, as arrays, and files of the same format with other pixels."""
