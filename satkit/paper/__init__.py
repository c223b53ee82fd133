"""The paper's numbers and claims as data: its tables, its statements, and the ledger."""

from satkit.paper.cells import cells, check_schema, list_tables, published, table, wide
from satkit.paper.claims import claims, ledger, ledger_text, verdicts
from satkit.paper.experiments import EXPERIMENTS
from satkit.paper.measured import (
    DATASET_TITLES,
    banner,
    bases,
    beside,
    measured,
    row_settings,
    rows_of,
)
from satkit.paper.statements import check_statements, statements

__all__ = [
    "DATASET_TITLES",
    "EXPERIMENTS",
    "banner",
    "bases",
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
    "row_settings",
    "rows_of",
    "statements",
    "table",
    "verdicts",
    "wide",
]
