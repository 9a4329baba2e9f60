"""Observers of a packet's way: thin I/O whose plain data `preflight.proto.way` judges."""
