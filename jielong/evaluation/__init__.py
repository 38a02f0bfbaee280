"""How good a model is: numbers with intervals, and the pages that show them."""
