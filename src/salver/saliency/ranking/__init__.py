"""Rankings of |gradient|: graphs, queries, searches for epsilon*."""
