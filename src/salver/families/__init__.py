"""Questions about explanations: suites, families of instances, and instance sets on disk."""
