"""What a host needs for a job, and what the job left there: brought as files, by content."""
