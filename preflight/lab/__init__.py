"""Overlays on one machine, in network namespaces, with faults on request."""
