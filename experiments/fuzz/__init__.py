"""Hostile files against every reader."""
