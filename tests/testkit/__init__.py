"""Tests of `salver.testkit`."""
