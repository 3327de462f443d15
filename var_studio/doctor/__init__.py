"""What this machine can do with VAR Studio, and what to change. Imports nothing that may break."""
