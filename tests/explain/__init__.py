"""Tests of `salver.explain`."""
