"""Work lists out, answers in: how a study and the tool in which a clinic labels exchange files."""

from medal.exchange.table import Table as Table
from medal.exchange.table import read_table as read_table
from medal.exchange.worklist import AnswerRow as AnswerRow
from medal.exchange.worklist import ExchangeFormat as ExchangeFormat
from medal.exchange.worklist import Item as Item
from medal.exchange.worklist import Reading as Reading
from medal.exchange.worklist import WorkList as WorkList
