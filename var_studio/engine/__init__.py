"""Runs a loaded model: generates, records, intervenes."""
