"""What a kernel costs: budgets, tally, ladder, comparison."""
