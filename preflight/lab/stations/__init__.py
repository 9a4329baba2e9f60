"""Faults by the station of a way at which they strike, to be tried on every set-up that can have them."""
