"""What is done to one record: one file per operation, one interface (`operations.base`)."""
