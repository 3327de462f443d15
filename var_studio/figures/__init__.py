"""What to draw as plain data, and how it is drawn."""
