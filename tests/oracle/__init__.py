"""Tests of `salver.oracle`."""
