"""What came before neural language models, measured on the same corpus."""
