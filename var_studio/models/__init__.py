"""Loads models and describes each family: prompt, tokens, geometry."""
