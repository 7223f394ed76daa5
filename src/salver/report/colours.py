"""Ends of the scale of signed values, white at zero; told apart with every kind of colour blindness."""

BELOW = (0, 90, 181)
"""Blue, as red, green, blue out of 255: the most below zero."""
ABOVE = (220, 50, 32)
"""Orange-red: the most above zero."""
