"""Certified and attacked radii within which the top pixels of a class activation map stay."""
