"""Qt objects without widgets: selection, settings, workspace, run controller."""
