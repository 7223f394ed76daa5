"""Tests of `salver.nets`."""
