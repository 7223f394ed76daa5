"""Tests of `salver.spec`."""
