"""This node's firewall: the ruleset as data, and which of its rules stop, change or let through a flow."""
