"""Misbehaving solvers, killed coordinators, torn files and full disks, by hand in bulk and in short."""
