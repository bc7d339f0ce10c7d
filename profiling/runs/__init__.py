"""Results as values, ranked, in files and found again."""
