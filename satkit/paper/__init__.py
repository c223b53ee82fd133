"""The paper's numbers and claims as data: its tables, its statements, and the ledger."""

from satkit.paper.cells import cells, check_schema, list_tables, published, table, wide
from satkit.paper.claims import claims, ledger, ledger_text
from satkit.paper.statements import check_statements, statements

__all__ = [
    "cells",
    "check_schema",
    "check_statements",
    "claims",
    "ledger",
    "ledger_text",
    "list_tables",
    "published",
    "statements",
    "table",
    "wide",
]
