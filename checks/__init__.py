"""The bundled checks: one module each; a check never imports another."""
