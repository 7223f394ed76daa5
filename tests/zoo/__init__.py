"""Tests of `salver.zoo`."""
