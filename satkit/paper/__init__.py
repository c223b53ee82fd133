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
    spread,
)
from satkit.paper.report import count_verdicts, paper_effects, to_run, write_ledger
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
    "count_verdicts",
    "ledger",
    "ledger_text",
    "list_tables",
    "measured",
    "paper_effects",
    "published",
    "row_settings",
    "rows_of",
    "spread",
    "statements",
    "table",
    "to_run",
    "verdicts",
    "wide",
    "write_ledger",
]
