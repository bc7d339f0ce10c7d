"""What a sweep adds to its rows once they are compiled and timed."""
