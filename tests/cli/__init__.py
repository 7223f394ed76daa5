"""Tests of `salver.cli`."""
