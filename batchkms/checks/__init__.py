"""What is looked at without changing anything: the input, the account and what a run would cost."""
