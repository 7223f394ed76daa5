"""Tools of others: those with a common interface, and peers in environments of their own."""
