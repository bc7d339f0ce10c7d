"""The source of captured kernels: cut out of a program, kept as texts, loaded again; and what it reads and writes."""
