"""Helper package of the transfer-learning book; import its modules, e.g. `from tlutils import datasets`."""

__version__ = "0.1.0"
