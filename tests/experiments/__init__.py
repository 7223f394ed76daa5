"""Tests of the measurements in `experiments/`."""
