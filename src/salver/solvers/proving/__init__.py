"""Writing proofs of `unsat`: a search whose every deduction is one that the checker knows."""
