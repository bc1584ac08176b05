"""Counters, timings and traces through OpenTelemetry.

What is measured is a subclass of what is not, chosen when a memory is opened (`switch`, `kinds`);
where nothing is measured, no line of this package runs in a call.
"""
