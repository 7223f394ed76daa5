"""Class activation maps and Grad-CAM: graphs, queries, attacks, certified radii."""
