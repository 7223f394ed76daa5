"""Running solvers: plan, private copies, supervised processes, stored events, engines."""
