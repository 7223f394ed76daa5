"""Tests of `salver.judge`."""
