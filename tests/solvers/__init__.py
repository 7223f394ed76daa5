"""Tests of `salver.solvers`."""
