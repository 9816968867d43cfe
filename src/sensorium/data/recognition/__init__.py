"""What names, endings, types and numbers say about data, and what is refused."""
