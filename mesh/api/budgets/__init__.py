"""What may be asked of budgets, and how they look as rows."""
