"""The solver `crown`: auto_LiRPA bounds with branch and bound."""
