"""Examples without labels for a trained model: files, folders, tables and what Python holds."""
