"""Tests of `salver.supervise`."""
