"""The kinds of figure: each a function from a table to a matplotlib figure."""
