"""The bundled Populi control plane."""
