"""What executes a recipe, and embeds faces with it."""
