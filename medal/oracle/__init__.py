"""Oracles: who answers a query."""

from medal.oracle.exchange import FileExchange as FileExchange
from medal.oracle.noisy import Noisy as Noisy
from medal.oracle.protocol import Oracle as Oracle
from medal.oracle.simulated import Simulated as Simulated
