"""What the figures of a run or of an explanation say, as data: reports only word it."""
