"""Plain forms of our own algorithms, as the official programs run them: for timing and equality."""
