"""What this machine's devices do now, and whether they are well."""
