"""What can be chosen: a primary configuration for each command, and a folder for each group."""
