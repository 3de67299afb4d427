"""What executes a recipe, and the cache that keeps what was built."""
