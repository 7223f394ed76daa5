"""Tests of `salver.proofs`."""
