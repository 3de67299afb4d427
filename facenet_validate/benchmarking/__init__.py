"""The timing protocol, paired ratios, stored baselines and their gates."""
