"""One command under hard limits, and the end of all it starts."""
