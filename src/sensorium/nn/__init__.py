"""The papers: byte array, positions, attention, encoder, decoder."""
