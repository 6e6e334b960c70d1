"""Load tests of a KMS endpoint: a schedule, the attack, and what is made of its calls."""
