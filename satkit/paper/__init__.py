"""The paper's numbers and claims as data: its tables, its statements, and the ledger."""

from satkit.paper.cells import cells, check_schema, list_tables, published, table, wide
from satkit.paper.claims import claims, ledger, ledger_text
from satkit.paper.experiments import EXPERIMENTS
from satkit.paper.measured import banner, beside, measured
from satkit.paper.statements import check_statements, statements

__all__ = [
    "EXPERIMENTS",
    "banner",
    "beside",
    "cells",
    "check_schema",
    "check_statements",
    "claims",
    "ledger",
    "ledger_text",
    "list_tables",
    "measured",
    "published",
    "statements",
    "table",
    "wide",
]
