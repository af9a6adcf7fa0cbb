"""Checks of the exercises: one module per chapter, one function per exercise."""
