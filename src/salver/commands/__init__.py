"""Commands of `salver` that have a module of their own; heavy imports stay inside the functions."""
