"""The house as data: which module may import which, and what every module says about itself."""

from __future__ import annotations

import ast
import importlib
import inspect
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import chatq

#: Which modules of chatq each module imports. An arrow that is not here has to be argued for.
IMPORTS: dict[str, set[str]] = {
    "__init__": {
        "clients.consumer",
        "clients.outbox",
        "clients.session",
        "clients.transaction",
        "course.check",
        "course.predict",
        "journal.activity",
        "journal.facts",
        "journal.journal",
        "panel.composer",
        "queues.frame",
        "queues.message",
        "queues.nats.client_manager",
        "queues.observers",
        "queues.queues",
        "queues.rules",
        "queues.store",
        "stage.nats_server",
        "stage.scene",
        "stage.stage",
        "testing.stages",
        "views.explain",
    },
    "__main__": {
        "__version__",
        "course.progress",
        "doctor",
        "hub.queues_command",
        "hub.serve",
        "views.replay_command",
    },
    "clients.acknowledgements": {
        "clients.session",
        "waiting",
    },
    "clients.backlog": set(),
    "clients.consumer": {
        "clients.acknowledgements",
        "clients.backlog",
        "clients.inbox",
        "clients.session",
        "queues.message",
        "waiting",
    },
    "clients.embedded": {
        "clients.session",
        "queues.error_codes",
        "queues.queues",
        "waiting",
    },
    "clients.envelope": {
        "queues.message",
        "queues.store",
    },
    "clients.inbox": {
        "queues.private",
        "queues.sqlite_schema",
        "queues.store",
    },
    "clients.outbox": {
        "clients.embedded",
        "clients.envelope",
        "clients.outbox_table",
        "clients.publisher",
        "clients.session",
        "queues.queues",
        "queues.rules",
        "queues.sqlite_store",
        "queues.steady_clock",
        "queues.store",
    },
    "clients.outbox_table": {
        "clients.envelope",
        "clients.transaction",
        "queues.location",
        "queues.sqlite_schema",
        "queues.store",
        "waiting",
    },
    "clients.publisher": {
        "clients.embedded",
        "clients.envelope",
        "clients.outbox_table",
        "clients.session",
        "queues.rules",
        "queues.sqlite_store",
        "queues.store",
        "waiting",
    },
    "clients.session": {
        "internals.client_events",
        "internals.connect_errors",
        "queues.frame",
        "waiting",
    },
    "clients.transaction": {
        "clients.envelope",
        "queues.rules",
        "queues.steady_clock",
    },
    "course.attempt": {
        "course.blame",
        "course.invariants",
        "course.mistakes",
        "course.sandbox",
        "course.trial",
        "journal.activity",
        "stage.scene",
    },
    "course.ballot": {
        "course.prediction",
        "internals.comm",
        "views.looks",
    },
    "course.blame": set(),
    "course.catalogue": set(),
    "course.check": {
        "course.attempt",
        "course.blame",
        "course.catalogue",
        "course.generate",
        "course.interrupt",
        "course.mistakes",
        "course.sandbox",
        "course.scenes",
        "course.trial",
    },
    "course.clues": {
        "course.blame",
        "course.sandbox",
        "internals.client_tap",
        "internals.dispatch",
        "journal.journal",
    },
    "course.excerpt": set(),
    "course.generate": {
        "course.attempt",
        "course.lives",
        "course.sandbox",
        "course.scenes",
        "course.search",
        "course.trial",
    },
    "course.generated.people": {
        "course.scenes",
        "internals.client_tap",
    },
    "course.generated.scenes_01": {
        "course.generated.people",
        "course.scenes",
    },
    "course.generated.scenes_02": {
        "course.generated.people",
        "course.scenes",
        "internals.client_tap",
    },
    "course.generated.scenes_03": {
        "course.generated.people",
        "course.scenes",
    },
    "course.generated.scenes_04": {
        "course.scenes",
    },
    "course.generated.scenes_05": {
        "course.generated.people",
        "course.invariants",
        "course.scenes",
        "internals.client_tap",
        "journal.accounting",
        "journal.activity",
    },
    "course.generated.scenes_06": {
        "course.scenes",
    },
    "course.generated.scenes_07": {
        "course.generated.scenes_07_hub",
        "course.scenes",
    },
    "course.generated.scenes_07_hub": {
        "course.scenes",
        "internals.client_events",
    },
    "course.generated.scenes_07_leases": {
        "course.generated.scenes_07_hub",
        "course.invariants",
        "course.queue_trial",
        "course.scenes",
    },
    "course.generated.scenes_07_reader": {
        "course.invariants",
        "course.queue_trial",
        "course.scenes",
        "journal.facts",
        "queues.rules",
    },
    "course.generated.scenes_08": {
        "course.invariants",
        "course.ledger",
        "course.queue_trial",
        "course.scenes",
        "journal.facts",
        "queues.observers",
        "queues.rules",
    },
    "course.generated.scenes_08_outbox": {
        "course.scenes",
        "course.shop",
    },
    "course.generated.scenes_09": {
        "course.invariants",
        "course.scenes",
        "course.two_servers",
        "internals.client_tap",
        "journal.facts",
        "queues.observers",
        "queues.queues",
        "queues.store",
        "stage.nats_server",
        "stage.scene",
        "stage.stage",
        "waiting",
    },
    "course.generated.scenes_10": {
        "course.invariants",
        "course.scenes",
        "queues.queues",
    },
    "course.generated.scenes_10_evening": {
        "course.generated.scenes_10",
        "course.generated.scenes_10_parcels",
        "course.invariants",
        "course.scenes",
        "internals.client_tap",
    },
    "course.generated.scenes_10_parcels": {
        "course.generated.scenes_10",
        "course.invariants",
        "course.queue_trial",
        "course.scenes",
        "internals.client_events",
        "internals.client_tap",
        "journal.facts",
        "queues.observers",
        "queues.queues",
        "queues.rules",
        "waiting",
    },
    "course.interrupt": set(),
    "course.invariants": {
        "internals.client_tap",
        "journal.facts",
        "journal.journal",
        "stage.stage",
        "views.deliveries",
        "views.explain",
        "views.sentence",
    },
    "course.isolated": set(),
    "course.judge": {
        "course.check",
        "course.trial",
    },
    "course.ledger": set(),
    "course.lesson_01": {
        "course.check",
        "course.generated.scenes_01",
        "course.trial",
    },
    "course.lesson_02": {
        "course.check",
        "course.generated.scenes_02",
        "course.trial",
        "internals.client_tap",
    },
    "course.lesson_03": {
        "course.check",
        "course.generated.scenes_03",
        "course.trial",
        "internals.client_tap",
    },
    "course.lesson_04": {
        "course.check",
        "course.generated.scenes_04",
        "course.trial",
        "internals.client_tap",
    },
    "course.lesson_05": {
        "course.check",
        "course.generated.scenes_05",
        "course.invariants",
        "course.trial",
        "internals.client_tap",
        "journal.activity",
        "journal.facts",
    },
    "course.lesson_06": {
        "course.check",
        "course.generated.scenes_06",
        "course.trial",
        "internals.client_tap",
    },
    "course.lesson_07": {
        "course.check",
        "course.generated.scenes_07",
        "course.generated.scenes_07_leases",
        "course.generated.scenes_07_reader",
        "course.invariants",
        "course.queue_trial",
        "course.trial",
        "internals.client_tap",
        "journal.activity",
        "queues.rules",
        "stage.scene",
    },
    "course.lesson_08": {
        "course.check",
        "course.generated.scenes_08",
        "course.generated.scenes_08_outbox",
        "course.ledger",
        "course.queue_trial",
        "course.shop",
        "course.trial",
        "internals.client_tap",
        "queues.rules",
    },
    "course.lesson_09": {
        "course.check",
        "course.generated.scenes_09",
        "course.invariants",
        "course.trial",
        "course.two_servers",
        "internals.client_tap",
        "journal.activity",
        "queues.queues",
        "queues.store",
        "stage.scene",
        "stage.stage",
    },
    "course.lesson_10": {
        "course.check",
        "course.generated.scenes_10",
        "course.generated.scenes_10_evening",
        "course.generated.scenes_10_parcels",
        "course.invariants",
        "course.queue_trial",
        "course.trial",
        "internals.client_tap",
        "queues.queues",
        "queues.rules",
    },
    "course.lives": {
        "course.attempt",
        "course.sandbox",
        "course.scenes",
        "course.trial",
    },
    "course.mistakes": {
        "course.blame",
        "course.sandbox",
    },
    "course.predict": {
        "course.ballot",
        "course.prediction",
        "course.question",
        "internals.cells",
    },
    "course.prediction": {
        "course.question",
    },
    "course.progress": {
        "course.excerpt",
        "course.isolated",
        "views.table",
    },
    "course.question": {
        "course.catalogue",
        "journal.journal",
        "views.explain",
    },
    "course.questions.questions_00b": {
        "course.question",
    },
    "course.questions.questions_01": {
        "course.question",
    },
    "course.questions.questions_02": {
        "course.question",
        "journal.facts",
    },
    "course.questions.questions_03": {
        "course.question",
    },
    "course.questions.questions_04": {
        "course.question",
    },
    "course.questions.questions_05": {
        "course.question",
    },
    "course.questions.questions_05b": {
        "course.question",
    },
    "course.questions.questions_06": {
        "course.question",
        "views.explain",
    },
    "course.questions.questions_07": {
        "course.question",
    },
    "course.questions.questions_07b": {
        "course.question",
        "journal.facts",
    },
    "course.questions.questions_08": {
        "course.question",
        "journal.facts",
    },
    "course.questions.questions_08b": {
        "course.question",
    },
    "course.questions.questions_09": {
        "course.question",
    },
    "course.questions.questions_10": {
        "course.question",
    },
    "course.queue_trial": {
        "course.invariants",
        "course.sandbox",
        "course.trial",
        "internals.client_tap",
        "queues.memory",
        "queues.queues",
        "queues.receipts",
        "queues.rules",
        "queues.store",
        "stage.scene",
    },
    "course.sandbox": set(),
    "course.scenes": {
        "course.attempt",
        "course.invariants",
        "course.sandbox",
        "course.trial",
        "internals.client_tap",
        "internals.engine",
        "journal.facts",
        "waiting",
    },
    "course.search": {
        "course.scenes",
        "internals.draws",
    },
    "course.shop": {
        "course.invariants",
        "course.ledger",
        "course.sandbox",
        "course.trial",
        "internals.client_tap",
        "stage.scene",
    },
    "course.trial": {
        "course.blame",
        "course.clues",
        "course.invariants",
        "course.sandbox",
        "internals.client_events",
        "internals.client_tap",
        "internals.dispatch",
        "internals.network",
        "journal.facts",
        "stage.stage",
    },
    "course.two_servers": {
        "course.invariants",
        "course.trial",
        "internals.client_tap",
        "journal.activity",
        "queues.queues",
        "queues.store",
        "stage.nats_server",
        "stage.stage",
        "waiting",
    },
    "doctor": set(),
    "fast": set(),
    "hosts": set(),
    "hub.asking": {
        "hub.inside",
        "internals.connect_errors",
        "queues.inspection",
        "queues.queues",
        "queues.rules",
        "queues.store",
    },
    "hub.caps.also": {
        "hub.caps.dialect_table",
    },
    "hub.caps.dialect": {
        "hub.caps.dialect_table",
        "hub.caps.guess",
        "hub.caps.named_drivers",
        "hub.caps.replays",
        "hub.caps.roles",
        "hub.caps.shelf",
        "hub.caps.unknown",
        "hub.caps.words",
        "hub.gate",
        "queues.error_codes",
        "queues.message",
        "queues.queues",
        "queues.rules",
        "queues.store",
    },
    "hub.caps.dialect_table": set(),
    "hub.caps.given": {
        "hub.caps.shelf",
    },
    "hub.caps.guess": {
        "hub.caps.dialect_table",
        "hub.caps.words",
    },
    "hub.caps.named_drivers": {
        "hub.caps.shelf",
        "queues.message",
        "queues.queues",
    },
    "hub.caps.replays": {
        "hub.caps.also",
        "hub.caps.dialect_table",
        "hub.caps.given",
        "hub.caps.named_drivers",
        "hub.caps.roles",
        "hub.caps.shapes",
        "hub.caps.shelf",
        "hub.caps.words",
        "hub.gate",
        "queues.message",
        "queues.order",
        "queues.queues",
    },
    "hub.caps.roles": {
        "hub.caps.words",
    },
    "hub.caps.shapes": set(),
    "hub.caps.shelf": set(),
    "hub.caps.unknown": {
        "hub.caps.dialect_table",
        "hub.caps.guess",
        "hub.caps.words",
    },
    "hub.caps.words": {
        "hub.caps.dialect_table",
    },
    "hub.certificate": set(),
    "hub.door": {
        "pace",
    },
    "hub.gate": {
        "hub.door",
        "hub.tokens",
        "internals.engine",
        "internals.hub_server",
        "queues.error_codes",
    },
    "hub.inside": {
        "hub.gate",
        "queues.error_codes",
        "queues.inspection",
        "queues.queues",
        "waiting",
    },
    "hub.origins": {
        "hosts",
        "internals.front",
    },
    "hub.page": set(),
    "hub.protocol": {
        "hub.gate",
        "queues.queues",
        "queues.receipts",
        "queues.rules",
        "queues.service",
    },
    "hub.queues_command": {
        "hub.asking",
        "hub.text_table",
        "queues.error_codes",
        "queues.location",
    },
    "hub.security": {
        "hosts",
        "hub.certificate",
        "hub.gate",
        "hub.origins",
        "hub.tokens",
        "hub.watched",
        "waiting",
    },
    "hub.serve": {
        "fast",
        "hub.caps.dialect",
        "hub.caps.dialect_table",
        "hub.gate",
        "hub.inside",
        "hub.page",
        "hub.protocol",
        "hub.security",
        "internals.front",
        "internals.hub_requests",
        "internals.hub_server",
        "queues.error_codes",
        "queues.location",
        "queues.queues",
        "queues.store",
        "waiting",
    },
    "hub.text_table": set(),
    "hub.tokens": set(),
    "hub.watched": set(),
    "internals.asgi": {
        "waiting",
    },
    "internals.begun": {
        "internals.tasks",
        "internals.timers",
        "internals.wrapping",
        "waiting",
    },
    "internals.cells": {
        "internals.wrapping",
    },
    "internals.client_events": set(),
    "internals.client_tap": {
        "internals.begun",
        "internals.dispatch",
        "internals.network",
        "internals.other_server_tap",
        "internals.tape",
        "journal.accounting",
        "journal.activity",
        "journal.facts",
        "journal.journal",
        "waiting",
    },
    "internals.comm": {
        "internals.wrapping",
    },
    "internals.connect_errors": set(),
    "internals.connecting": {
        "internals.engine",
        "internals.wrapping",
    },
    "internals.dispatch": set(),
    "internals.draws": set(),
    "internals.engine": set(),
    "internals.front": set(),
    "internals.hub_requests": set(),
    "internals.hub_server": {
        "internals.hub_requests",
        "internals.unread",
        "pace",
        "shares",
        "waiting",
    },
    "internals.memory_socket": set(),
    "internals.nats_client": set(),
    "internals.network": {
        "internals.memory_socket",
        "internals.wrapping",
    },
    "internals.other_server_tap": {
        "internals.wrapping",
        "journal.accounting",
        "journal.facts",
        "journal.journal",
    },
    "internals.server_events": {
        "internals.wrapping",
    },
    "internals.server_tap": {
        "internals.begun",
        "internals.dispatch",
        "internals.wrapping",
        "journal.accounting",
        "journal.activity",
        "journal.facts",
        "journal.journal",
    },
    "internals.tape": set(),
    "internals.tasks": set(),
    "internals.timers": {
        "internals.tasks",
        "internals.wrapping",
    },
    "internals.unread": set(),
    "internals.wrapping": set(),
    "journal.accounting": {
        "journal.activity",
        "journal.facts",
        "journal.journal",
        "waiting",
    },
    "journal.activity": {
        "waiting",
    },
    "journal.facts": set(),
    "journal.journal": {
        "journal.facts",
        "journal.kinds",
        "journal.lines",
    },
    "journal.kinds": {
        "journal.facts",
    },
    "journal.lines": {
        "journal.facts",
    },
    "pace": {
        "waiting",
    },
    "panel.board": {
        "panel.cards",
        "panel.composer",
        "panel.controls",
        "panel.form",
        "panel.line",
        "views.deliveries",
        "views.links",
        "views.looks",
        "views.roster",
        "views.table",
    },
    "panel.cards": {
        "panel.composer",
        "panel.controls",
        "views.looks",
        "views.roster",
    },
    "panel.composer": {
        "journal.facts",
    },
    "panel.controls": {
        "internals.comm",
    },
    "panel.form": {
        "journal.facts",
        "panel.composer",
        "panel.controls",
        "views.roster",
    },
    "panel.line": set(),
    "panel.panel": {
        "journal.journal",
        "panel.board",
        "panel.cards",
        "panel.composer",
        "panel.line",
        "views.view",
        "waiting",
    },
    "pytest_plugin": {
        "testing.stages",
    },
    "queues.administration": {
        "journal.facts",
        "queues.dead_message",
        "queues.delivery",
        "queues.message",
        "queues.observers",
        "queues.rules",
        "queues.store",
    },
    "queues.alarm": set(),
    "queues.attachment": {
        "internals.connecting",
        "internals.dispatch",
        "queues.error_codes",
        "queues.receipts",
    },
    "queues.dead_message": set(),
    "queues.delivery": {
        "internals.connecting",
        "internals.server_events",
        "journal.facts",
        "queues.in_flight",
        "queues.observers",
        "queues.rules",
        "queues.store",
        "queues.subscription",
        "queues.turns",
    },
    "queues.error_codes": {
        "queues.message",
        "queues.store",
    },
    "queues.frame": {
        "queues.message",
        "queues.store",
    },
    "queues.frozen": {
        "queues.ordering",
    },
    "queues.ids": set(),
    "queues.in_flight": {
        "internals.engine",
        "journal.facts",
        "queues.alarm",
        "queues.observers",
        "queues.rules",
        "queues.store",
        "waiting",
    },
    "queues.inspection": {
        "queues.message",
        "queues.queues",
        "queues.redriving",
        "queues.store",
    },
    "queues.keys": set(),
    "queues.leases": set(),
    "queues.location": set(),
    "queues.memory": {
        "queues.alarm",
        "queues.record",
        "queues.requests",
        "queues.state",
        "queues.steady_clock",
        "queues.store",
    },
    "queues.message": {
        "fast",
        "queues.store",
        "queues.values",
    },
    "queues.nats.address": set(),
    "queues.nats.bodies": {
        "queues.nats.encoding",
        "queues.store",
        "waiting",
    },
    "queues.nats.client_manager": {
        "queues.nats.address",
        "queues.nats.log",
        "queues.nats.stream",
        "queues.store",
        "waiting",
    },
    "queues.nats.compaction": {
        "queues.nats.replica",
        "queues.nats.snapshots",
        "queues.requests",
        "queues.store",
    },
    "queues.nats.connection": {
        "queues.nats.address",
        "queues.store",
        "waiting",
    },
    "queues.nats.encoding": {
        "queues.record",
        "queues.store",
    },
    "queues.nats.log": {
        "internals.nats_client",
        "queues.nats.address",
        "queues.nats.connection",
        "queues.nats.reader",
        "queues.nats.stream",
        "queues.store",
    },
    "queues.nats.nats_store": {
        "queues.alarm",
        "queues.nats.address",
        "queues.nats.compaction",
        "queues.nats.connection",
        "queues.nats.encoding",
        "queues.nats.log",
        "queues.nats.replica",
        "queues.nats.snapshots",
        "queues.record",
        "queues.requests",
        "queues.state",
        "queues.steady_clock",
        "queues.store",
        "waiting",
    },
    "queues.nats.reader": {
        "queues.nats.connection",
        "queues.nats.reading_progress",
        "queues.nats.stream",
        "queues.store",
        "waiting",
    },
    "queues.nats.reading_progress": set(),
    "queues.nats.replica": {
        "queues.nats.bodies",
        "queues.nats.connection",
        "queues.nats.encoding",
        "queues.nats.snapshots",
        "queues.record",
        "queues.requests",
        "queues.state",
        "queues.store",
    },
    "queues.nats.snapshots": {
        "queues.frozen",
        "queues.nats.reading_progress",
        "queues.nats.stream",
        "queues.state",
        "queues.store",
        "waiting",
    },
    "queues.nats.stream": {
        "queues.nats.address",
        "queues.store",
    },
    "queues.observers": {
        "journal.facts",
        "queues.message",
        "queues.store",
    },
    "queues.order": set(),
    "queues.ordering": set(),
    "queues.private": set(),
    "queues.queues": {
        "journal.facts",
        "queues.administration",
        "queues.attachment",
        "queues.dead_message",
        "queues.delivery",
        "queues.location",
        "queues.memory",
        "queues.message",
        "queues.nats.nats_store",
        "queues.observers",
        "queues.receipts",
        "queues.rules",
        "queues.service",
        "queues.sqlite_store",
        "queues.steady_clock",
        "queues.store",
    },
    "queues.receipts": {
        "queues.delivery",
        "queues.store",
    },
    "queues.record": {
        "queues.store",
    },
    "queues.redriving": {
        "queues.administration",
    },
    "queues.requests": {
        "queues.ids",
        "queues.ordering",
        "queues.state",
        "queues.store",
    },
    "queues.reserve": {
        "queues.private",
    },
    "queues.rules": {
        "waiting",
    },
    "queues.sender": {
        "fast",
        "internals.engine",
        "queues.frame",
        "queues.in_flight",
        "queues.message",
        "queues.store",
    },
    "queues.service": {
        "queues.error_codes",
        "queues.message",
        "queues.order",
        "queues.redriving",
        "queues.store",
        "shares",
    },
    "queues.sqlite_backup": {
        "queues.private",
    },
    "queues.sqlite_claims": {
        "fast",
        "queues.ids",
        "queues.leases",
        "queues.sqlite_memory",
        "queues.sqlite_upkeep",
        "queues.store",
        "queues.trail",
    },
    "queues.sqlite_faults": {
        "queues.reserve",
    },
    "queues.sqlite_file": {
        "queues.private",
        "queues.sqlite_schema",
    },
    "queues.sqlite_memory": {
        "queues.leases",
        "queues.trail",
    },
    "queues.sqlite_puts": {
        "queues.ids",
        "queues.sqlite_claims",
        "queues.sqlite_memory",
        "queues.store",
        "queues.trail",
    },
    "queues.sqlite_room": {
        "queues.reserve",
        "queues.sqlite_file",
    },
    "queues.sqlite_rows": {
        "queues.ids",
        "queues.sqlite_claims",
        "queues.sqlite_memory",
        "queues.sqlite_puts",
        "queues.store",
        "queues.trail",
    },
    "queues.sqlite_schema": {
        "queues.store",
    },
    "queues.sqlite_space": {
        "queues.sqlite_schema",
    },
    "queues.sqlite_store": {
        "queues.alarm",
        "queues.location",
        "queues.sqlite_backup",
        "queues.sqlite_faults",
        "queues.sqlite_file",
        "queues.sqlite_room",
        "queues.sqlite_rows",
        "queues.sqlite_schema",
        "queues.sqlite_upkeep",
        "queues.steady_clock",
        "queues.store",
    },
    "queues.sqlite_trail": {
        "fast",
        "queues.store",
        "queues.trail",
    },
    "queues.sqlite_upkeep": {
        "queues.ids",
        "queues.leases",
        "queues.rules",
        "queues.sqlite_memory",
        "queues.sqlite_space",
        "queues.sqlite_trail",
        "queues.store",
        "queues.trail",
    },
    "queues.state": {
        "queues.frozen",
        "queues.ids",
        "queues.ordering",
        "queues.record",
        "queues.stock",
        "queues.store",
        "queues.trail",
    },
    "queues.steady_clock": set(),
    "queues.stock": {
        "queues.frozen",
        "queues.ids",
        "queues.keys",
        "queues.ordering",
        "queues.rules",
        "queues.store",
        "queues.trail",
    },
    "queues.store": set(),
    "queues.subscription": {
        "internals.engine",
        "queues.alarm",
        "queues.in_flight",
        "queues.rules",
        "queues.sender",
        "queues.store",
        "queues.turns",
        "waiting",
    },
    "queues.trail": {
        "queues.store",
    },
    "queues.turns": set(),
    "queues.values": set(),
    "shares": set(),
    "stage.cables": {
        "stage.relay",
    },
    "stage.guard": {
        "hosts",
        "internals.front",
    },
    "stage.names": {
        "journal.accounting",
        "journal.facts",
    },
    "stage.nats_server": {
        "journal.activity",
        "queues.nats.address",
        "queues.nats.connection",
        "queues.store",
        "stage.cables",
        "stage.nats_votes",
        "stage.process",
    },
    "stage.nats_votes": set(),
    "stage.process": {
        "journal.activity",
    },
    "stage.programs": {
        "journal.activity",
        "stage.process",
        "stage.relay",
    },
    "stage.queue_tap": {
        "journal.accounting",
        "journal.activity",
        "journal.facts",
    },
    "stage.relay": {
        "waiting",
    },
    "stage.scene": {
        "internals.begun",
        "internals.client_tap",
        "internals.network",
        "internals.server_tap",
        "journal.accounting",
        "journal.activity",
        "journal.facts",
        "journal.journal",
        "stage.guard",
        "stage.names",
        "stage.process",
        "stage.programs",
        "stage.serving",
        "views.table",
        "waiting",
    },
    "stage.serving": {
        "internals.asgi",
        "internals.front",
    },
    "stage.stage": {
        "internals.client_tap",
        "internals.network",
        "journal.facts",
        "panel.cards",
        "panel.composer",
        "panel.line",
        "panel.panel",
        "queues.observers",
        "stage.process",
        "stage.queue_tap",
        "stage.scene",
        "views.table",
        "views.view",
        "views.wire",
    },
    "testing.evidence": {
        "stage.stage",
        "views.table",
    },
    "testing.stages": {
        "internals.client_tap",
        "stage.process",
        "stage.stage",
        "testing.evidence",
    },
    "views.deliveries": {
        "journal.activity",
        "journal.facts",
        "views.explain",
        "views.finding",
        "views.got",
        "views.looks",
        "views.matchers",
        "views.sentence",
        "views.table",
    },
    "views.diagram": {
        "journal.facts",
        "views.explain",
        "views.looks",
        "views.rows",
        "views.svg",
        "views.table",
    },
    "views.explain": {
        "journal.facts",
        "journal.journal",
    },
    "views.finding": {
        "views.explain",
    },
    "views.got": {
        "views.explain",
        "views.sentence",
        "views.table",
    },
    "views.links": {
        "views.deliveries",
        "views.explain",
        "views.sentence",
        "views.table",
    },
    "views.looks": set(),
    "views.matchers": {
        "views.explain",
        "views.sentence",
    },
    "views.moments": {
        "journal.journal",
        "views.deliveries",
        "views.explain",
        "views.links",
        "views.rows",
        "views.story",
        "views.table",
    },
    "views.replay": {
        "views.deliveries",
        "views.explain",
        "views.links",
        "views.looks",
        "views.moments",
        "views.rows",
        "views.svg",
        "views.table",
    },
    "views.replay_command": {
        "journal.journal",
        "views.view",
    },
    "views.roster": {
        "journal.facts",
        "journal.journal",
        "views.looks",
        "views.table",
    },
    "views.rows": {
        "journal.facts",
        "views.deliveries",
        "views.explain",
        "views.looks",
        "views.story",
        "views.table",
    },
    "views.sentence": {
        "journal.facts",
        "views.explain",
    },
    "views.story": {
        "journal.facts",
        "views.deliveries",
        "views.explain",
        "views.sentence",
    },
    "views.svg": {
        "views.looks",
        "views.rows",
        "views.table",
    },
    "views.table": {
        "views.looks",
    },
    "views.view": {
        "journal.facts",
        "journal.journal",
        "views.deliveries",
        "views.diagram",
        "views.explain",
        "views.finding",
        "views.moments",
        "views.replay",
        "views.roster",
        "views.sentence",
        "views.table",
    },
    "views.wire": {
        "internals.tape",
        "views.table",
    },
    "waiting": set(),
}
#: What of the machine a browser's tab has not, and who of those that a stage needs may touch it.
OF_THE_MACHINE = {"multiprocessing", "select", "selectors", "socket", "ssl", "threading"}
NEAR_THE_MACHINE = {
    "internals.memory_socket",  # for the names of its constants
    "internals.network",
    "stage.process",
}
#: What is in no room, and every room may use.
HALL = {"fast", "hosts", "pace", "shares", "waiting"}
#: Which rooms each room may know at all: those below it. Nothing knows a room above.
ROOMS = {
    "journal": set(),
    "internals": {"journal"},
    "queues": {"internals", "journal", "queues.nats"},
    "queues.nats": {"internals", "journal", "queues"},
    "clients": {"internals", "queues"},
    "hub": {"hub.caps", "internals", "journal", "queues"},
    "hub.caps": {"hub", "queues"},
    "views": {"internals", "journal"},
    "panel": {"internals", "journal", "views"},
    "stage": {"internals", "journal", "panel", "queues", "queues.nats", "views"},
    "course": {"course.generated", "internals", "journal", "queues", "stage", "views"},
    "course.generated": {"course", "internals", "journal", "queues", "stage"},
    "course.questions": {"course", "journal", "views"},
    "testing": {"internals", "stage", "views"},
}
#: Names that say nothing of what is inside.
EMPTY_NAMES = {"utils", "helpers", "manager", "types", "errors"}

FOLDER = Path(chatq.__file__).parent
SOURCES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path.read_text("utf-8")
    for path in FOLDER.rglob("*.py")
}
#: What says something of a room, and imports nothing.
DOORS = {f"{room}.__init__" for room in ROOMS}
PUBLIC = sorted(name for name in SOURCES if not name.rpartition(".")[2].startswith("_"))


def imported(source: str, room: str = "") -> set[str]:
    """Return the modules of chatq that a program in a room imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(level=0, module=str(module)) if module.split(".")[0] != "chatq":
                pass
            case ast.ImportFrom(level=level, module=module, names=names) if level:
                rooms = room.split(".") if room else []
                above = rooms[: len(rooms) - (level - 1)]
                found |= {
                    ".".join([*above, name])
                    for name in ([module] if module else [n.name for n in names])
                }
            case ast.Import(names=names) if all(n.name.split(".")[0] != "chatq" for n in names):
                pass
            case ast.Import() | ast.ImportFrom():
                raise ValueError(f"inside chatq, import as `from .x import y`: {ast.unparse(node)}")
    return found


def room_of(name: str) -> str:
    return name.rpartition(".")[0]


def test_the_arrows_are_those_of_the_map() -> None:
    found = {name: imported(source, room_of(name)) for name, source in SOURCES.items()}
    assert found == {**IMPORTS, **{door: set() for door in DOORS}}


def test_a_stage_has_no_sockets_and_no_threads_but_at_the_seams() -> None:
    """The network below it is one of two; all that is above runs where there are none."""
    needed, found = {"stage.stage"}, set()
    while new := {arrow for name in needed for arrow in IMPORTS[name]} - needed:
        needed |= new
    for name in needed:
        for node in ast.walk(ast.parse(SOURCES[name])):
            match node:
                case ast.Import(names=names):
                    modules = {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(level=0, module=str(module)):
                    modules = {module.partition(".")[0]}
                case _:
                    continue
            if modules & OF_THE_MACHINE:
                found.add(name)
    assert found == NEAR_THE_MACHINE


def test_a_room_knows_only_the_rooms_it_may() -> None:
    for name, arrows in IMPORTS.items():
        if room := room_of(name):
            assert {room_of(arrow) for arrow in arrows - HALL} <= {room, *ROOMS[room]}, name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_owns(room: str) -> None:
    text = " ".join((importlib.import_module(f"chatq.{room}").__doc__ or "").split())
    assert "Owns " in text
    assert "Must not know" in text


def test_the_arrows_make_no_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()


def test_no_module_has_the_name_of_another() -> None:
    names = [name.rpartition(".")[2] for name in PUBLIC]
    assert sorted(set(names)) == sorted(names)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert EMPTY_NAMES.isdisjoint(part for name in SOURCES for part in name.split("."))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_says_what_it_owns(name: str) -> None:
    module = importlib.import_module(f"chatq.{name}")
    text = " ".join((module.__doc__ or "").split())
    assert "Owns " in text
    assert "Must not know" in text
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("name", ["__init__", *PUBLIC])
def test_everything_public_is_explained(name: str) -> None:
    module = importlib.import_module("chatq" if name == "__init__" else f"chatq.{name}")
    assert undocumented(module) == []


def undocumented(module: object) -> list[str]:
    """Return the public functions, classes and methods without a docstring of their own."""
    found = []
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if not thing.__doc__:
            found.append(name)
        members = vars(thing).items() if inspect.isclass(thing) else ()
        for member, value in members:
            what = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if thing.__module__.startswith("chatq.course.generated."):
                continue  # a step's words are at its decorator
            if not member.startswith("_") and inspect.isroutine(what) and not what.__doc__:
                found.append(f"{name}.{member}")
    return found


def test_the_map_is_read_from_programs_in_all_their_forms() -> None:
    program = "import os\nfrom . import a\nfrom .b import c\ndef f():\n    from .d import e"
    assert imported(program) == {"a", "b", "d"}
    program = "from . import a\nfrom .b import c\nfrom ..d.e import f"
    assert imported(program, "room") == {"room.a", "room.b", "d.e"}
    for hidden in ["import chatq.a", "from chatq import a", "from chatq.a import b"]:
        with pytest.raises(ValueError, match="inside chatq"):
            imported(hidden)
