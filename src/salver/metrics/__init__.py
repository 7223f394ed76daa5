"""Metrics of an explanation's robustness as certified intervals, beside what sampling says of them."""
