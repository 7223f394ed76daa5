"""Runs on many machines: the Dask engine, its workers, and Slurm pilots that start them."""
