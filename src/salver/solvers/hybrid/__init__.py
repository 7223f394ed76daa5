"""The solver `hybrid`: attack, bounds, the saliency condition read backwards, branching, exact leaves."""
