"""Benchmarks: each area measures ours and the peers' in one run; ratios of medians hold where times do not."""
