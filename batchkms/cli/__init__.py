"""The command line: one file per subcommand, thin users of the library."""
