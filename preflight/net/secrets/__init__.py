"""This node's secrets where they lie, and in git repositories."""
