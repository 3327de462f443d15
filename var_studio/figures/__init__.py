"""What to draw as plain data, and how it is drawn.

Nothing is imported here: the window says things in the words of figures before it draws one.
"""
