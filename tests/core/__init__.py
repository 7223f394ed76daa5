"""Tests of `salver.core`."""
