"""Thousands of faults at less than a CPU second each: one act of the product in a forked process, struck in the middle.

`make prove-faults` runs them for a night and adds what came of them to results.jsonl, from which docs/faults.md has its
sums. The campaign beside this one (tests/faults/campaign.py) has everybody at work at once, and is slower.
"""
