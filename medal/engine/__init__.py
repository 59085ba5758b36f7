"""Engines: where jobs run; in this process, in several, or on Ray. How many run at a time changes nothing in them."""

from medal.engine.choice import engine_of as engine_of
from medal.engine.job import Engine as Engine
from medal.engine.job import Job as Job
from medal.engine.job import Notify as Notify
from medal.engine.job import quiet as quiet
from medal.engine.local import Local as Local
from medal.engine.settled import settle_process as settle_process
