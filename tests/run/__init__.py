"""Tests of `salver.run`."""
