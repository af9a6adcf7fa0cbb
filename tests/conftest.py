"""Fixtures that several test modules share."""

import jaxtyping
import pytest


@pytest.fixture
def as_reader():
    """Switch the checks of shape annotations off, as they are for readers, who get our own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
