"""A solver in a package of its own."""
