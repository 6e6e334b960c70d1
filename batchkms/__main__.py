"""`python -m batchkms`."""

from batchkms.cli.main import main

main()
