//! Composition root of Berth: roles, telemetry, local mode.
