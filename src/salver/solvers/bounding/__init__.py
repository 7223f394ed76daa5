"""Bounds on pre-activations and outputs over a box, forwards and backwards, one node at a time or many."""
