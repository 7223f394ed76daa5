"""SmoothGrad: the graph over fixed draws, queries, the sparsified map and its certificate."""
