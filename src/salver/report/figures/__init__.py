"""Plots of a run as SVG, PDF and pgfplots."""
