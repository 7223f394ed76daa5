"""Tests of `salver.families`."""
