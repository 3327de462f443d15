"""Small reusable pieces of the panels."""
