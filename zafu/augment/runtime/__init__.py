"""What augmentation does, in torch: imported when a chain is built, never with a recipe."""
