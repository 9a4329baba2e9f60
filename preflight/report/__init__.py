"""Renderers: one pure function from a report to text per format."""
