"""What may be spent now, and by whom: holds before costs, gifts between peers, alarms."""
