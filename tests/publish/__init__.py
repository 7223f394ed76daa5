"""Tests of `salver.publish`."""
