"""The papers, and only the papers."""
