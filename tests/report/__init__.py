"""Tests of `salver.report`."""
