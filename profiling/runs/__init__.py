"""Results as values: ranked, kept in files, and found again."""
