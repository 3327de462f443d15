"""From a recording to the numbers on screen. NumPy only; never touches a model."""
