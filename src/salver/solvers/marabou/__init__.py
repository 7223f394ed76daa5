"""The solver `marabou`: queries encoded for maraboupy."""
