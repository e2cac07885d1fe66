"""One peer's part in the fleet's budgets: it holds before it spends, settles after, and tells."""
