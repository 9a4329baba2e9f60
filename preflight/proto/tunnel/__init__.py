"""The tunnel under a way: its session's counters, whose an address is, lines to paste."""
