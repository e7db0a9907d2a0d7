"""See who got which message: real Socket.IO servers and clients on a stage that keeps a journal."""

from .explain import Reason
from .journal import Journal
from .settle import NotSettled
from .stage import HandlerRaised, Stage

__all__ = ["HandlerRaised", "Journal", "NotSettled", "Reason", "Stage"]
__version__ = "0.1.0"
