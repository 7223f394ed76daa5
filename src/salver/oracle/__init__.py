"""Exact answers to small queries, which share no code with the solvers they are held against."""
