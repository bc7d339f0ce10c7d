"""A sweep from request to run, and the explanation of one config."""
