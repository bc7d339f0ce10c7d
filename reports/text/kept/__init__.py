"""What is kept, as text."""
