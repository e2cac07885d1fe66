"""The system's own manager of services: systemd, launchd, the Windows Task Scheduler. Each module
writes one manager's file and speaks to it; none knows what the service does."""
