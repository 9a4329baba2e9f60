"""From the catalogue of checks to the diagnosis: plan, runner, plug-ins, root causes, placement of work."""
