"""The window. It draws and listens; numbers come from analysis."""
