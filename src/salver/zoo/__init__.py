"""What instances are made of: data sets, training, and trained networks."""
