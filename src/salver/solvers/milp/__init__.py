"""The solver `milp`: one mixed-integer program, for SCIP or HiGHS."""
