"""Figures and laboratories of single chapters: one module per chapter, kept out of the chapter's text."""
