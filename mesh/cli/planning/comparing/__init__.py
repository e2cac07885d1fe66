"""How a comparison looks, to people and to spreadsheets."""
