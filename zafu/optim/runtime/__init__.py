"""What moves weights, in torch: imported when something is built, never with a recipe."""
