"""One module for each exercise notebook, with its ``EXERCISES``."""
