"""Checks of this site; each module holds one."""
