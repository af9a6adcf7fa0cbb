"""Checks of what came in. They stop with a message or do nothing.

They are called as statements by themselves, ``guards.name(...)``, and `provenance` leaves such statements out
of a code digest: a check that passed has touched no number, so that a new one makes no stored run stale.
"""

from tlutils.guards.games import *
from tlutils.guards.games import __all__ as _games
from tlutils.guards.networks import *
from tlutils.guards.networks import __all__ as _networks
from tlutils.guards.samples import *
from tlutils.guards.samples import __all__ as _samples
from tlutils.guards.settings import *
from tlutils.guards.settings import __all__ as _settings

__all__ = [*_games, *_networks, *_samples, *_settings]
