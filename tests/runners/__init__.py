"""Tests of `salver.runners`."""
