"""The contract between salver and a solver, and the tools of others that keep it."""
