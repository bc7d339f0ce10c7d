"""What a compiled kernel executes: its machine code (SASS), read without a GPU and weighed by trip counts."""
