"""Set-ups: the axes on which overlays differ, each a small module of data and builders; and what excludes what."""
